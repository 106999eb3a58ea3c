-- name: experiment
-- Each experiment as it stands, and the time.
SELECT e.id AS experiment_id, e.experiment_name AS experiment, e.status::text AS status,
       e.started_at, headway.clock_now() AS now, p.bandit IS NOT NULL AS is_bandit
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.id = ANY(CAST(:experiment_ids AS uuid[]));

-- name: variants
-- Their variants, the control first.
SELECT v.experiment_id, v.variant_name AS name, v.is_control
FROM ab_variants v
WHERE v.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY v.experiment_id, v.is_control DESC, v.variant_name;

-- name: shares
-- The allocation log: each arm's weight in each epoch, an arm a row. Bandits have many epochs.
SELECT w.experiment_id, v.variant_name AS arm, array_agg(w.epoch ORDER BY w.epoch) AS epochs,
       array_agg(w.weight ORDER BY w.epoch) AS weights
FROM allocation_weight w JOIN ab_variants v ON v.id = w.variant_id
WHERE w.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
GROUP BY w.experiment_id, v.id
ORDER BY w.experiment_id, v.variant_name;

-- name: metrics
-- Their metrics; whether somebody else aggregated them, and no unit is their own.
SELECT em.experiment_id, m.name, em.role::text AS role, m.event_type,
       CASE WHEN m.kind IN ('proportion', 'retention') THEN 'zero'
            ELSE m.missing::text END AS missing,
       m.is_higher_better IS DISTINCT FROM false AS is_higher_better,
       m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL AS has_covariate,
       EXISTS (
           SELECT FROM aggregate_statistic g
           WHERE g.experiment_id = em.experiment_id AND g.metric_id = em.metric_id
       ) AND NOT EXISTS (
           SELECT FROM ab_assignments a
           WHERE a.experiment_id = em.experiment_id AND NOT a.is_override
       ) AS is_aggregated
FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY em.experiment_id, em.role, m.name;

-- name: aggregates
-- Metrics that somebody else aggregated: up to when each arm is known that has figures, or that
-- traffic was ever meant for; the newest moment that all of them have; how many units there are.
WITH told AS (
    SELECT g.experiment_id, g.metric_id, g.variant_id, g.observed_at
    FROM experiment_metric em JOIN aggregate_statistic g USING (experiment_id, metric_id)
    WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
      AND g.observed_at <= headway.clock_now()
), arm AS (
    SELECT experiment_id, metric_id, variant_id, max(observed_at) AS known_to
    FROM (
        SELECT * FROM told
        UNION ALL
        SELECT t.experiment_id, t.metric_id, v.id, NULL
        FROM (SELECT DISTINCT experiment_id, metric_id FROM told) t
        JOIN ab_variants v USING (experiment_id)
        LEFT JOIN allocation_weight w ON w.variant_id = v.id
        GROUP BY t.experiment_id, t.metric_id, v.id
        HAVING COALESCE(max(w.weight), 1) > 0
    ) known
    GROUP BY experiment_id, metric_id, variant_id
)
SELECT a.experiment_id, m.name AS metric, em.role::text AS role,
       array_agg(v.variant_name ORDER BY v.variant_name) AS arms,
       array_agg(a.known_to ORDER BY v.variant_name) AS known_to,
       (SELECT max(w.observed_at) FROM (
            SELECT t.observed_at FROM told t
            WHERE (t.experiment_id, t.metric_id) = (a.experiment_id, a.metric_id)
            GROUP BY t.observed_at HAVING count(*) = count(DISTINCT a.variant_id)
        ) w) AS compared_at,
       (SELECT count(*) FROM ab_assignments u
        WHERE u.experiment_id = a.experiment_id AND NOT u.is_override) AS own_units
FROM arm a
JOIN ab_variants v ON v.id = a.variant_id
JOIN metric m ON m.id = a.metric_id
JOIN experiment_metric em
  ON em.experiment_id = a.experiment_id AND em.metric_id = a.metric_id
GROUP BY a.experiment_id, a.metric_id, m.name, em.role;

-- name: epoch_counts
-- Sufficient statistics of the arms' epochs by the primary metric, an arm a row.
SELECT s.experiment_id, v.variant_name AS arm,
       array_agg(s.level::integer ORDER BY s.level) AS epochs,
       array_agg(s.assigned ORDER BY s.level) AS assigned,
       array_agg(s.n ORDER BY s.level) AS n,
       array_agg(s.covariate_mean ORDER BY s.level) AS covariate_mean,
       array_agg(s.covariate_m2 ORDER BY s.level) AS covariate_m2
FROM moment_statistic s
JOIN experiment_metric em ON em.experiment_id = s.experiment_id AND em.metric_id = s.metric_id
JOIN ab_variants v ON v.id = s.variant_id
WHERE s.experiment_id = ANY(CAST(:experiment_ids AS uuid[])) AND s.dimension = 'epoch'
  AND em.role = 'primary'
GROUP BY s.experiment_id, v.id;

-- name: counts
-- Sufficient statistics of the arms; of their levels by the primary metric alone. Of an arm without
-- any event: how many of its units may still have one, which nobody counts before.
SELECT s.experiment_id, m.name AS metric, v.variant_name AS arm, s.dimension, s.level,
       s.assigned, s.events, s.converted, s.n, s.mean, s.covariate_mean, s.covariate_m2,
       COALESCE(o.windows_open, 0) AS windows_open, o.closes_at
FROM moment_statistic s
JOIN experiment_metric em ON em.experiment_id = s.experiment_id AND em.metric_id = s.metric_id
JOIN metric m ON m.id = s.metric_id
JOIN ab_variants v ON v.id = s.variant_id
LEFT JOIN LATERAL (
    SELECT count(*) AS windows_open, min(u.matures_at) AS closes_at
    FROM unit_value u
    WHERE u.experiment_id = s.experiment_id AND u.metric_id = s.metric_id
      AND u.matures_at IS NOT NULL AND u.variant_id = s.variant_id
) o ON s.dimension = '' AND s.converted = 0 AND s.assigned > 0
WHERE s.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
  AND (s.dimension = '' OR s.dimension <> 'epoch' AND em.role = 'primary');

-- name: level_counts
-- Units by level, epoch and arm, of experiments whose split has changed: only there does the split
-- that a level was to have depend on when its units came.
WITH changed AS (
    SELECT DISTINCT w.experiment_id
    FROM allocation_weight w
    WHERE w.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
    GROUP BY w.experiment_id, w.variant_id
    HAVING min(w.weight) <> max(w.weight)
        OR count(*) <> (
            SELECT count(*) FROM allocation l WHERE l.experiment_id = w.experiment_id
        )
), placed AS (
    SELECT a.experiment_id, d.dimension,
           COALESCE(left(a.metadata ->> d.dimension, 200), '(none)') AS level,
           COALESCE(
               a.epoch,
               (SELECT max(l.epoch) FROM allocation l
                WHERE l.experiment_id = a.experiment_id AND l.started_at <= a.assigned_at),
               1
           ) AS epoch,
           a.variant_id, count(*) AS assigned
    FROM changed c
    JOIN experiment_plan p ON p.experiment_id = c.experiment_id
    CROSS JOIN LATERAL unnest(p.dimensions) AS d (dimension)
    JOIN ab_assignments a ON a.experiment_id = c.experiment_id AND NOT a.is_override
    GROUP BY 1, 2, 3, 4, 5
), ranked AS (
    -- The hundred largest levels of a dimension, and the others together.
    SELECT experiment_id, dimension, level,
           row_number() OVER (
               PARTITION BY experiment_id, dimension ORDER BY sum(assigned) DESC, level
           ) AS place
    FROM placed GROUP BY experiment_id, dimension, level
)
SELECT p.experiment_id, p.dimension,
       CASE WHEN r.place <= 100 THEN p.level ELSE '(other)' END AS level,
       p.epoch, v.variant_name AS arm, sum(p.assigned)::bigint AS assigned
FROM placed p
JOIN ranked r USING (experiment_id, dimension, level)
JOIN ab_variants v ON v.id = p.variant_id
GROUP BY 1, 2, 3, 4, 5;

-- name: arrivals
-- When the last event of each type came, and how long it usually takes: the second longest wait at
-- this time of the day, over the fourteen days before the last event.
WITH moment AS (
    SELECT headway.clock_now() AS now
), counted AS (
    SELECT em.experiment_id, m.event_type, em.metric_id
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
    UNION ALL
    SELECT em.experiment_id, m.denominator_event_type, em.metric_id
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
      AND m.denominator_event_type IS NOT NULL
), aggregated AS (
    SELECT c.experiment_id, c.event_type, max(greatest(
               CASE WHEN g.loaded_at <= moment.now THEN g.loaded_at END,
               CASE WHEN g.observed_at <= moment.now THEN g.observed_at END
           )) AS at
    FROM counted c
    JOIN aggregate_statistic g
      ON g.experiment_id = c.experiment_id AND g.metric_id = c.metric_id
    CROSS JOIN moment
    WHERE NOT EXISTS (
        SELECT FROM ab_assignments a
        WHERE a.experiment_id = c.experiment_id AND NOT a.is_override
    )
    GROUP BY c.experiment_id, c.event_type
)
SELECT t.experiment_id, t.event_type, greatest(own.at, aggregated.at) AS last_at,
       usual.seconds AS usual_seconds
FROM (SELECT DISTINCT experiment_id, event_type FROM counted) t
CROSS JOIN moment
LEFT JOIN aggregated USING (experiment_id, event_type)
LEFT JOIN LATERAL (
    SELECT e.created_at AS at
    FROM ab_metrics e
    WHERE e.experiment_id = t.experiment_id AND e.event_type = t.event_type
    ORDER BY e.created_at DESC
    LIMIT 1
) own ON true
LEFT JOIN LATERAL (
    SELECT extract(epoch FROM probe.at - before.at)::double precision AS seconds
    FROM generate_series(0, 13) AS back (days)
    CROSS JOIN LATERAL (
        SELECT moment.now - make_interval(
            days => greatest(ceil(extract(epoch FROM moment.now - own.at) / 86400), 0)::int
                    + back.days
        ) AS at
    ) probe
    CROSS JOIN LATERAL (
        SELECT e.created_at AS at
        FROM ab_metrics e
        WHERE e.experiment_id = t.experiment_id AND e.event_type = t.event_type
          AND e.created_at <= probe.at
        ORDER BY e.created_at DESC
        LIMIT 1
    ) before
    ORDER BY seconds DESC
    OFFSET 1
    LIMIT 1
) usual ON true;

-- name: sampled
-- All events of a type of the units that had its newest 50: rows that repeat another, units with
-- events of an arm that is not theirs. The newest are sampled, as they were not looked at before.
WITH counted AS (
    SELECT DISTINCT em.experiment_id, m.event_type
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
)
SELECT t.experiment_id, t.event_type, count(*) AS rows,
       count(*) - count(DISTINCT (e.assignment_id, e.event_value, e.event_timestamp)) AS repeated,
       count(DISTINCT e.assignment_id) AS units,
       count(DISTINCT e.assignment_id) FILTER (WHERE e.variant_id <> unit.variant_id)
           AS strayed_units,
       bool_and(date_trunc('minute', e.event_timestamp) = e.event_timestamp) AS is_rounded
FROM counted t
CROSS JOIN LATERAL (
    SELECT DISTINCT a.id, a.variant_id
    FROM (
        SELECT n.assignment_id
        FROM ab_metrics n
        WHERE n.experiment_id = t.experiment_id AND n.event_type = t.event_type
        ORDER BY n.created_at DESC
        LIMIT 50
    ) newest
    JOIN ab_assignments a ON a.id = newest.assignment_id
) unit
JOIN ab_metrics e ON e.assignment_id = unit.id AND e.event_type = t.event_type
GROUP BY t.experiment_id, t.event_type;

-- name: rejected
-- Units of which a row was rejected because it names an arm that is not theirs.
SELECT e.id AS experiment_id, count(DISTINCT r.raw ->> 'user_id') AS units
FROM rejected_row r
JOIN ab_experiments e
  ON e.experiment_name = COALESCE(r.raw ->> 'experiment', NULLIF(r.experiment_name, ''))
WHERE r.reason_code IN ('conflicting-assignment', 'variant-mismatch')
  AND e.id = ANY(CAST(:experiment_ids AS uuid[]))
GROUP BY e.id;

-- name: overridden
-- Units in an arm that a person chose.
SELECT a.experiment_id, count(*) AS units
FROM ab_assignments a
WHERE a.experiment_id = ANY(CAST(:experiment_ids AS uuid[])) AND a.is_override
GROUP BY a.experiment_id;

-- name: shared
-- Units that another running experiment of the same layer has too; whom a person put into either
-- is left out there.
SELECT own.experiment_id, own.layer, e.experiment_name AS other, count(*) AS units
FROM layer_slot own
JOIN ab_experiments o ON o.id = own.experiment_id AND o.status NOT IN ('completed', 'archived')
JOIN layer_slot theirs
  ON theirs.layer = own.layer AND theirs.experiment_id <> own.experiment_id
JOIN ab_experiments e ON e.id = theirs.experiment_id AND e.status IN ('active', 'paused')
JOIN ab_assignments a ON a.experiment_id = own.experiment_id AND NOT a.is_override
JOIN ab_assignments b
  ON b.experiment_id = theirs.experiment_id AND b.user_id = a.user_id AND NOT b.is_override
WHERE own.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
GROUP BY own.experiment_id, own.layer, e.experiment_name
ORDER BY units DESC, e.experiment_name;

-- name: calibrations
-- The latest calibration of each metric that decides, on the units of the experiment itself.
SELECT DISTINCT ON (c.experiment_id, c.metric_id)
       c.experiment_id, m.name AS metric, c.verdict, c.calibrated_at,
       COALESCE(c.details #>> '{reasons,0,message}', '') AS reason
FROM calibration c
JOIN experiment_metric em
  ON em.experiment_id = c.experiment_id AND em.metric_id = c.metric_id AND em.role <> 'secondary'
JOIN metric m ON m.id = c.metric_id
WHERE c.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY c.experiment_id, c.metric_id, c.calibrated_at DESC, c.id DESC;
