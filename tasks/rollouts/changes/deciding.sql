-- name: metrics_without_squares
-- Metrics whose latest samples of these versions all have a count, and none the sum of squares. What
-- was not recorded lately says nothing.
SELECT asked.metric
FROM unnest(CAST(:metrics AS text[])) AS asked (metric)
CROSS JOIN LATERAL (
    SELECT count(*) AS recorded, count(square_sum) AS squared, count(sample_count) AS counted
    FROM (
        SELECT sample_count, square_sum
        FROM health_sample
        WHERE metric = asked.metric
            AND model_version = ANY(CAST(:versions AS text[]))
            AND observed_at > headway.clock_now() - interval '1 day'
        ORDER BY observed_at DESC
        LIMIT 1000
    ) AS latest
) AS sample
WHERE recorded > 0 AND counted = recorded AND squared = 0;
