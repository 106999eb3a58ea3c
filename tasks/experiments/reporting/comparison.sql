-- name: compared_experiment
-- Which experiment, its dimensions, and the end of the periods: now, or when it was completed.
SELECT e.id, e.status::text AS status, p.dimensions, headway.clock_now() AS now,
       LEAST(headway.clock_now(), COALESCE(e.completed_at, headway.clock_now())) AS until
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.experiment_name = :name;

-- name: compare_variants
-- Every metric in every arm: from the units' own values, uncapped; where somebody else aggregated
-- them, what is known of their moments.
WITH summary AS (
    SELECT u.metric_id, u.variant_id, count(*) AS units, count(x.value) AS n,
           sum(u.events) AS events,
           CASE WHEN m.denominator_event_type IS NULL THEN avg(x.value)
                ELSE sum(u.value) / NULLIF(sum(u.denominator), 0) END AS mean,
           stddev_samp(x.value) AS deviation, min(x.value) AS min, max(x.value) AS max,
           percentile_cont(CAST(:shares AS double precision[])) WITHIN GROUP (ORDER BY x.value)
               AS percentiles,
           count(u.matures_at) AS immature
    FROM unit_value u
    JOIN metric m ON m.id = u.metric_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.denominator_event_type IS NULL THEN u.value
                    ELSE u.value / NULLIF(u.denominator, 0) END AS value
    ) x
    WHERE u.experiment_id = :experiment_id
    GROUP BY u.metric_id, u.variant_id, m.denominator_event_type
)
SELECT m.name AS metric, em.role::text AS role, m.kind, v.variant_name AS variant, v.is_control,
       '' AS slice, '' AS level, COALESCE(s.units, ms.assigned, 0) AS units,
       COALESCE(s.n, ms.n, 0) AS n, COALESCE(s.events, ms.events, 0)::bigint AS events,
       COALESCE(s.mean, CASE WHEN ms.n > 0 THEN ms.mean END) AS mean, s.min, s.max,
       COALESCE(s.deviation, CASE WHEN ms.n > 1 THEN sqrt(ms.m2 / (ms.n - 1)) END) AS deviation,
       s.percentiles, COALESCE(s.immature, 0) AS immature
FROM experiment_metric em
JOIN metric m ON m.id = em.metric_id
JOIN ab_variants v ON v.experiment_id = em.experiment_id
LEFT JOIN summary s ON s.metric_id = em.metric_id AND s.variant_id = v.id
LEFT JOIN moment_statistic ms ON ms.experiment_id = em.experiment_id
    AND ms.metric_id = em.metric_id AND ms.variant_id = v.id AND ms.dimension = ''
WHERE em.experiment_id = :experiment_id
ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'], em.role::text), m.name,
         v.is_control DESC, v.variant_name;

-- name: compare_periods
-- Every metric in every arm, of the units assigned in the last days and of those in as many days
-- before; beside them the events that came in either.
WITH period AS (
    SELECT * FROM (VALUES
        (1, 'before', CAST(:until AS timestamptz) - 2 * CAST(:length AS interval),
         CAST(:until AS timestamptz) - CAST(:length AS interval)),
        (2, 'now', CAST(:until AS timestamptz) - CAST(:length AS interval),
         CAST(:until AS timestamptz))
    ) p (number, name, since, until)
), summary AS (
    SELECT u.metric_id, u.variant_id, p.number, count(*) AS units, count(x.value) AS n,
           CASE WHEN m.denominator_event_type IS NULL THEN avg(x.value)
                ELSE sum(u.value) / NULLIF(sum(u.denominator), 0) END AS mean,
           stddev_samp(x.value) AS deviation, min(x.value) AS min, max(x.value) AS max,
           percentile_cont(CAST(:shares AS double precision[])) WITHIN GROUP (ORDER BY x.value)
               AS percentiles,
           count(u.matures_at) AS immature
    FROM unit_value u
    JOIN metric m ON m.id = u.metric_id
    JOIN ab_assignments a ON a.id = u.assignment_id
    JOIN period p ON a.assigned_at > p.since AND a.assigned_at <= p.until
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.denominator_event_type IS NULL THEN u.value
                    ELSE u.value / NULLIF(u.denominator, 0) END AS value
    ) x
    WHERE u.experiment_id = :experiment_id
    GROUP BY u.metric_id, u.variant_id, p.number, m.denominator_event_type
), happened AS (
    SELECT e.event_type, e.variant_id, p.number, count(*) AS events
    FROM ab_metrics e
    JOIN period p ON e.event_timestamp > p.since AND e.event_timestamp <= p.until
    WHERE e.experiment_id = :experiment_id
    GROUP BY e.event_type, e.variant_id, p.number
)
SELECT m.name AS metric, em.role::text AS role, m.kind, v.variant_name AS variant, v.is_control,
       'period' AS slice, p.name AS level, COALESCE(s.units, 0) AS units, COALESCE(s.n, 0) AS n,
       COALESCE(h.events, 0) AS events, s.mean, s.min, s.max, s.deviation, s.percentiles,
       COALESCE(s.immature, 0) AS immature
FROM experiment_metric em
JOIN metric m ON m.id = em.metric_id
JOIN ab_variants v ON v.experiment_id = em.experiment_id
CROSS JOIN period p
LEFT JOIN summary s ON s.metric_id = em.metric_id AND s.variant_id = v.id AND s.number = p.number
LEFT JOIN happened h ON h.event_type = m.event_type AND h.variant_id = v.id
                    AND h.number = p.number
WHERE em.experiment_id = :experiment_id
ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'], em.role::text), m.name,
         v.is_control DESC, v.variant_name, p.number;

-- name: compare_segments
-- Every metric in every arm, within the 50 largest levels of each of the experiment's dimensions.
WITH leveled AS (
    SELECT u.metric_id, u.variant_id, u.events, u.value AS numerator, u.denominator,
           m.denominator_event_type IS NOT NULL AS is_ratio, u.matures_at, l.key, l.value AS level,
           CASE WHEN m.denominator_event_type IS NULL THEN u.value
                ELSE u.value / NULLIF(u.denominator, 0) END AS value
    FROM unit_value u
    JOIN metric m ON m.id = u.metric_id
    CROSS JOIN LATERAL jsonb_each_text(u.levels) l
    WHERE u.experiment_id = :experiment_id
), largest AS (
    SELECT key, level,
           row_number() OVER (PARTITION BY key ORDER BY count(*) DESC, level) AS place
    FROM leveled GROUP BY key, level
)
SELECT m.name AS metric, em.role::text AS role, m.kind, v.variant_name AS variant, v.is_control,
       l.key AS slice, l.level, count(*) AS units, count(l.value) AS n,
       sum(l.events)::bigint AS events,
       CASE WHEN bool_or(l.is_ratio) THEN sum(l.numerator) / NULLIF(sum(l.denominator), 0)
            ELSE avg(l.value) END AS mean,
       min(l.value) AS min, max(l.value) AS max, stddev_samp(l.value) AS deviation,
       percentile_cont(CAST(:shares AS double precision[])) WITHIN GROUP (ORDER BY l.value)
           AS percentiles,
       count(l.matures_at) AS immature
FROM leveled l
JOIN largest g ON g.key = l.key AND g.level = l.level AND g.place <= 50
JOIN experiment_metric em ON em.experiment_id = :experiment_id AND em.metric_id = l.metric_id
JOIN metric m ON m.id = l.metric_id
JOIN ab_variants v ON v.id = l.variant_id
GROUP BY m.name, em.role, m.kind, v.variant_name, v.is_control, l.key, l.level
ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'], em.role::text), m.name,
         l.key, l.level, v.is_control DESC, v.variant_name;

-- name: segment_percentiles
-- Where a segment stands among all units of a metric: the mean percentile of its units, ties
-- shared; 50 is like everybody.
WITH measured AS (
    SELECT u.metric_id, u.levels, CASE WHEN m.denominator_event_type IS NULL THEN u.value
                                       ELSE u.value / NULLIF(u.denominator, 0) END AS value
    FROM unit_value u JOIN metric m ON m.id = u.metric_id
    WHERE u.experiment_id = :experiment_id
), standing AS (
    SELECT metric_id, value,
           100 * (sum(count(*)) OVER (PARTITION BY metric_id ORDER BY value) - count(*) / 2.0)
               / sum(count(*)) OVER (PARTITION BY metric_id) AS percentile
    FROM measured WHERE value IS NOT NULL
    GROUP BY metric_id, value
)
SELECT m.name AS metric, l.key AS slice, l.value AS level,
       avg(s.percentile)::double precision AS percentile
FROM measured u
JOIN standing s ON s.metric_id = u.metric_id AND s.value = u.value
JOIN metric m ON m.id = u.metric_id
CROSS JOIN LATERAL jsonb_each_text(u.levels) l
GROUP BY m.name, l.key, l.value;
