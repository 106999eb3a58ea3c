-- name: compared_experiment
-- Which experiment, its dimensions, and the end of the periods: now, or when it was completed.
SELECT e.id, e.status::text AS status, p.dimensions, headway.clock_now() AS now,
       LEAST(headway.clock_now(), COALESCE(e.completed_at, headway.clock_now())) AS until
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.experiment_name = :name;

-- name: own_values
-- A fragment: each unit's own value of a metric, x.value; a ratio is that of the unit.
unit_value u
JOIN metric m ON m.id = u.metric_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.denominator_event_type IS NULL THEN u.value
                ELSE u.value / NULLIF(u.denominator, 0) END AS value
) x

-- name: summary
-- A fragment: the columns that say how these values are spread; a ratio is that of the sums.
count(*) AS units, count(x.value) AS n, sum(u.events)::bigint AS events,
CASE WHEN m.denominator_event_type IS NULL THEN avg(x.value)
     ELSE sum(u.value) / NULLIF(sum(u.denominator), 0) END AS mean,
stddev_samp(x.value) AS deviation, min(x.value) AS min, max(x.value) AS max,
percentile_cont(CAST(:shares AS double precision[])) WITHIN GROUP (ORDER BY x.value) AS percentiles,
count(u.matures_at) AS immature

-- name: compare_variants
-- Every metric in every arm: from the units' own values, uncapped; where somebody else aggregated
-- them, what is known of their moments.
WITH summary AS (
    SELECT u.metric_id, u.variant_id, {summary}
    FROM {own_values}
    WHERE u.experiment_id = :experiment_id
    GROUP BY u.metric_id, u.variant_id, m.denominator_event_type
)
SELECT m.name AS metric, em.role::text AS role, m.kind, v.variant_name AS variant, v.is_control,
       '' AS slice, '' AS level, COALESCE(s.units, ms.assigned, 0) AS units,
       COALESCE(s.n, ms.n, 0) AS n,
       -- Who aggregated a mean did not say how many events there were.
       CASE WHEN s.units IS NULL AND ms.n > 0 AND m.kind NOT IN ('proportion', 'retention')
            THEN NULL ELSE COALESCE(s.events, ms.events, 0) END AS events,
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
    SELECT u.metric_id, u.variant_id, p.number, {summary}
    FROM {own_values}
    JOIN ab_assignments a ON a.id = u.assignment_id
    JOIN period p ON a.assigned_at > p.since AND a.assigned_at <= p.until
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
-- Numbers are grouped by, not names: the sorting is most of the work.
WITH sized AS (
    SELECT l.key, l.value AS level,
           row_number() OVER (PARTITION BY l.key ORDER BY count(*) DESC, l.value) AS place
    FROM unit_value u
    CROSS JOIN LATERAL jsonb_each_text(u.levels) l
    WHERE u.experiment_id = :experiment_id
      AND u.metric_id = (SELECT metric_id FROM experiment_metric
                         WHERE experiment_id = :experiment_id ORDER BY role LIMIT 1)
    GROUP BY l.key, l.value
), segment AS MATERIALIZED (
    SELECT key, level, row_number() OVER (ORDER BY key, level)::integer AS number
    FROM sized WHERE place <= 50
), summary AS (
    SELECT u.metric_id, u.variant_id, g.number, {summary}
    FROM {own_values}
    CROSS JOIN LATERAL jsonb_each_text(u.levels) l
    JOIN segment g ON g.key = l.key AND g.level = l.value
    WHERE u.experiment_id = :experiment_id
    GROUP BY g.number, u.metric_id, u.variant_id, m.denominator_event_type
)
SELECT m.name AS metric, em.role::text AS role, m.kind, v.variant_name AS variant, v.is_control,
       g.key AS slice, g.level, s.units, s.n, s.events, s.mean, s.min, s.max, s.deviation,
       s.percentiles, s.immature
FROM summary s
JOIN segment g USING (number)
JOIN experiment_metric em ON em.experiment_id = :experiment_id AND em.metric_id = s.metric_id
JOIN metric m ON m.id = s.metric_id
JOIN ab_variants v ON v.id = s.variant_id
ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'], em.role::text), m.name,
         g.number, v.is_control DESC, v.variant_name;

-- name: segment_percentiles
-- Where a segment stands among all units of a metric: the mean percentile of its units, ties
-- shared; 50 is like everybody.
WITH measured AS (
    SELECT u.metric_id, u.levels, x.value
    FROM {own_values}
    WHERE u.experiment_id = :experiment_id
), standing AS (
    SELECT metric_id, value,
           CAST(100 * (sum(count(*)) OVER (PARTITION BY metric_id ORDER BY value)
                       - count(*) / 2.0)
                / sum(count(*)) OVER (PARTITION BY metric_id) AS double precision) AS percentile
    FROM measured WHERE value IS NOT NULL
    GROUP BY metric_id, value
)
SELECT m.name AS metric, f.slice, f.level, f.percentile
FROM (
    SELECT u.metric_id, l.key AS slice, l.value AS level,
           avg(s.percentile) AS percentile
    FROM measured u
    JOIN standing s ON s.metric_id = u.metric_id AND s.value = u.value
    CROSS JOIN LATERAL jsonb_each_text(u.levels) l
    GROUP BY u.metric_id, l.key, l.value
) f
JOIN metric m ON m.id = f.metric_id;

-- name: room_to_sort
-- Percentiles sort every value: with little memory, on disk. For this transaction only.
SELECT set_config('work_mem', '64MB', true);
