-- name: measure_samples
-- Sums over the samples of each metric of a version in its half-open window. What is no number, or
-- so large that a sum of such could leave the range of numbers, is only counted.
SELECT asked.place, sums.*
FROM jsonb_to_recordset(CAST(:asked AS jsonb)) AS asked(
    place integer, model_version text, metric text, window_start timestamptz,
    window_end timestamptz)
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(value_sum) FILTER (WHERE is_usable AND sample_count IS NOT NULL), 0)
            AS value_sum,
        CAST(least(coalesce(sum(sample_count) FILTER (WHERE is_usable), 0), 9e18) AS bigint)
            AS sample_count,
        sum(value_sum) FILTER (WHERE is_usable AND sample_count IS NULL)
            / nullif(count(*) FILTER (WHERE is_usable AND sample_count IS NULL), 0)
            AS given_value,
        count(*) FILTER (WHERE is_usable AND sample_count IS NULL) AS given_rows,
        count(*) FILTER (WHERE NOT is_usable) AS broken_rows,
        CASE WHEN bool_and(has_squares) FILTER (WHERE is_usable AND sample_count > 0)
            THEN sum(square_sum) FILTER (WHERE is_usable AND sample_count > 0) END AS square_sum
    FROM (
        SELECT
            value_sum,
            sample_count,
            square_sum,
            abs(value_sum) < 1e300 AS is_usable, -- NaN is greater than every number
            coalesce(square_sum < 1e300, false) AS has_squares
        FROM health_sample
        WHERE model_version = asked.model_version
            AND metric = asked.metric
            AND observed_at >= asked.window_start
            AND observed_at < asked.window_end
    ) AS sample
) AS sums
ORDER BY asked.place;

-- name: record_sample
-- The application's own way in.
SELECT record_health_sample(
    CAST(:model_version AS text), CAST(:metric AS text), CAST(:value_sum AS double precision),
    CAST(:sample_count AS bigint), CAST(:observed_at AS timestamptz), CAST(:source AS text),
    CAST(:square_sum AS double precision));
