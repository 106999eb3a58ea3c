-- name: stored_span
-- From when to when samples of a version were observed; those of a time to come are left out.
SELECT min(observed_at) AS first_at, max(observed_at) AS last_at
FROM health_sample
WHERE model_version = :model_version AND metric = ANY(CAST(:metrics AS text[]))
    AND observed_at <= headway.clock_now();

-- name: stored_sums
-- Sums over each tick (1, 2, …) from the first sample on, for the version and its control; broken
-- numbers are only counted.
SELECT
    metric,
    model_version = :model_version AS is_canary,
    CAST(floor(
        extract(epoch FROM observed_at - CAST(:first_at AS timestamptz)) / :tick_seconds
    ) AS integer) + 1 AS tick,
    coalesce(sum(value_sum) FILTER (WHERE is_usable AND sample_count IS NOT NULL), 0) AS total,
    coalesce(
        sum(square_sum) FILTER (WHERE is_usable AND square_sum IS NOT NULL AND sample_count > 0), 0
    ) AS squares,
    CAST(coalesce(sum(sample_count) FILTER (WHERE is_usable), 0) AS bigint) AS samples,
    CAST(coalesce(
        sum(sample_count) FILTER (WHERE is_usable AND square_sum IS NULL), 0
    ) AS bigint) AS without_squares,
    coalesce(
        sum(value_sum) FILTER (WHERE is_usable AND sample_count IS NULL), 0
    ) AS given_total,
    count(*) FILTER (WHERE is_usable AND sample_count IS NULL) AS given_rows,
    count(*) FILTER (WHERE NOT is_usable) AS broken_rows
FROM (
    SELECT
        *,
        value_sum NOT IN ('NaN', 'Infinity', '-Infinity')
        AND coalesce(square_sum NOT IN ('NaN', 'Infinity'), true) AS is_usable
    FROM health_sample
    WHERE model_version IN (:model_version, :control_version)
        AND metric = ANY(CAST(:metrics AS text[]))
        AND observed_at >= :first_at
        AND observed_at <= headway.clock_now()
) AS sample
GROUP BY metric, is_canary, tick;
