-- name: list_bandits
-- Bandits whose turn has come: all that are active, or the one that is asked for.
SELECT e.id::text AS id, e.experiment_name AS name, e.status::text AS status,
       p.bandit IS NOT NULL AS is_bandit
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE CASE WHEN CAST(:experiment AS text) IS NULL
           THEN e.status = 'active' AND p.bandit IS NOT NULL
           ELSE e.experiment_name = :experiment END
ORDER BY e.experiment_name;

-- name: lock_experiments
-- One change of their traffic at a time, in one order for all; assignments do not wait for it.
SELECT id FROM ab_experiments
WHERE id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE;

-- name: read_bandits
-- Each as it stands: how the split may follow the figures, and by which metric.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, p.bandit AS policy,
       extract(epoch FROM headway.clock_now() - e.started_at)::double precision / 3600 AS hours,
       em.metric_id, m.name AS metric, m.kind, m.is_higher_better
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
WHERE e.id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY e.experiment_name;

-- name: bandit_arms
-- Their arms: the weights that hold now, and the moments of the primary metric over all epochs.
SELECT v.experiment_id, em.metric_id, v.id AS variant_id, v.variant_name AS name, m.quantile,
       COALESCE(w.weight, v.traffic_weight) AS weight,
       m.denominator_event_type IS NOT NULL AS has_denominator,
       s.n, s.mean, s.m2, s.denominator_mean, s.denominator_m2, s.denominator_c2
FROM unnest(CAST(:experiment_ids AS uuid[])) asked (id)
JOIN ab_variants v ON v.experiment_id = asked.id
LEFT JOIN LATERAL (
    SELECT a.epoch FROM allocation a WHERE a.experiment_id = asked.id ORDER BY a.epoch DESC LIMIT 1
) newest ON true
LEFT JOIN allocation_weight w
    ON (w.experiment_id, w.epoch, w.variant_id) = (v.experiment_id, newest.epoch, v.id)
LEFT JOIN experiment_metric em ON em.experiment_id = v.experiment_id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN moment_statistic s
    ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id AND s.variant_id = v.id
   AND s.dimension = '' AND s.level = ''
ORDER BY v.experiment_id, v.is_control DESC, v.variant_name COLLATE "C";

-- name: bandit_epochs
-- The same by the epoch of the split that chose them, in arrays.
SELECT s.experiment_id, v.variant_name AS name,
       array_agg(s.level::integer ORDER BY s.level) AS epochs,
       array_agg(s.n ORDER BY s.level) AS n,
       array_agg(s.mean ORDER BY s.level) AS mean,
       array_agg(s.m2 ORDER BY s.level) AS m2,
       array_agg(s.denominator_mean ORDER BY s.level) AS denominator_mean,
       array_agg(s.denominator_m2 ORDER BY s.level) AS denominator_m2,
       array_agg(s.denominator_c2 ORDER BY s.level) AS denominator_c2
FROM experiment_metric em
JOIN moment_statistic s
    ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id AND s.dimension = 'epoch'
JOIN ab_variants v ON v.id = s.variant_id
WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[])) AND em.role = 'primary' AND s.n > 0
GROUP BY s.experiment_id, v.id
ORDER BY s.experiment_id;

-- name: last_allocations
-- The last update of each: what it was made of, and the split that it left.
SELECT asked.subject, last.inputs, last.details -> 'weights' AS weights
FROM unnest(CAST(:subjects AS text[])) asked (subject)
CROSS JOIN LATERAL (
    SELECT d.inputs, d.details FROM headway.decision d
    WHERE d.subject = asked.subject AND d.rule = 'traffic-allocation'
    ORDER BY d.id DESC LIMIT 1
) last;

-- name: last_data_checks
-- What the suites over the experiment tables found last, if that was just now. Steps are dated by
-- the server's own clock, whatever time it is for experiments.
SELECT output FROM headway.step
WHERE name = 'check-experiment-data' AND finished_at > clock_timestamp() - interval '30 minutes'
ORDER BY finished_at DESC LIMIT 1;

-- name: standings
-- How the arms stood at an update, and what it said; at the last one where none is named.
SELECT asked.subject, told.arms, told.reasons
FROM unnest(CAST(:subjects AS text[]), CAST(:decision_ids AS bigint[])) asked (subject, id)
CROSS JOIN LATERAL (
    SELECT d.details -> 'arms' AS arms, d.reasons
    FROM headway.decision d
    WHERE d.subject = asked.subject AND d.rule = 'traffic-allocation'
      AND (asked.id IS NULL OR d.id = asked.id)
    ORDER BY d.id DESC LIMIT 1
) told;

-- name: list_unbalanced
-- Active fixed designs whose split is not the one that they started with, but for those that were
-- brought back for their sample ratio before: what a person set after that is to hold.
SELECT e.id::text AS id, e.experiment_name AS name
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
CROSS JOIN LATERAL (
    SELECT max(a.epoch) AS epoch FROM allocation a WHERE a.experiment_id = e.id
) newest
WHERE e.status = 'active' AND p.bandit IS NULL AND newest.epoch > 1
  AND EXISTS (
      SELECT FROM allocation_weight w
      JOIN allocation_weight first
        ON (first.experiment_id, first.epoch, first.variant_id) = (w.experiment_id, 1, w.variant_id)
      WHERE w.experiment_id = e.id AND w.epoch = newest.epoch AND w.weight <> first.weight
  ) AND NOT EXISTS (
      SELECT FROM headway.decision d
      WHERE d.subject = 'experiment:' || e.experiment_name AND d.rule = 'traffic-balance'
        AND d.inputs ->> 'cause' = 'srm' AND d.inputs ->> 'experiment_id' = e.id::text
  )
ORDER BY e.experiment_name;

-- name: lock_balanced
-- One experiment whose split is to go back; nobody else changes it meanwhile.
SELECT e.id, e.status::text AS status, EXISTS (
           SELECT FROM experiment_plan p WHERE p.experiment_id = e.id AND p.bandit IS NOT NULL
       ) AS is_bandit
FROM ab_experiments e
WHERE e.experiment_name = :experiment
FOR NO KEY UPDATE;

-- name: planned_arms
-- Its arms: the weights that hold, and those that it started with.
SELECT v.variant_name AS name, w.weight, first.weight AS planned_weight
FROM ab_variants v
JOIN allocation_weight first ON (first.experiment_id, first.epoch) = (v.experiment_id, 1)
    AND first.variant_id = v.id
JOIN allocation_weight w ON w.experiment_id = v.experiment_id AND w.variant_id = v.id
    AND w.epoch = (SELECT max(a.epoch) FROM allocation a WHERE a.experiment_id = v.experiment_id)
WHERE v.experiment_id = :experiment_id
ORDER BY v.is_control DESC, v.variant_name COLLATE "C";
