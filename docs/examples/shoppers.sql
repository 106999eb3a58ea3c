-- Two experiments without any effect: one shopper in twenty orders, for lognormal sums.
WITH asked AS (
    SELECT experiment, unit, assign_variant(experiment, unit) AS arm
    FROM (VALUES ('bundle', 8000), ('bundle-small', 16000)) AS sizes (experiment, size),
         LATERAL (SELECT experiment || '-' || n AS unit FROM generate_series(1, size) AS n) AS shoppers
)
SELECT experiment, count(arm) AS asked,
       count(track_event(experiment, unit, 'order',
             exp(1.5 * sqrt(-2 * ln(bucket('size', unit))) * cos(2 * pi() * bucket('turn', unit)))))
       FILTER (WHERE bucket('buys', unit) < 0.05) AS bought
FROM asked GROUP BY experiment;
