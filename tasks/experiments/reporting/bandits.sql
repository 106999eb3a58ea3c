-- name: bandits
-- Bandits with their last update: all, or one by name.
SELECT e.id, e.experiment_name AS name, p.bandit AS policy, m.name AS metric,
       d.id AS decision_id, d.decided_at, d.verdict, d.reasons, d.details, d.inputs
FROM ab_experiments e
JOIN experiment_plan p ON p.experiment_id = e.id AND p.bandit IS NOT NULL
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN LATERAL (
    SELECT * FROM headway.decision
    WHERE subject = 'experiment:' || e.experiment_name AND rule = 'traffic-allocation'
    ORDER BY id DESC
    LIMIT 1
) d ON true
WHERE CAST(:name AS text) IS NULL OR e.experiment_name = :name;

-- name: bandit_units
-- Units of each arm by now; and of the first units, as many as the last update had counted, those
-- that it would have had, had the arms that were open in each epoch shared its units equally.
WITH cell AS (
    SELECT w.experiment_id, w.epoch, w.variant_id, w.weight > 0 AS is_open,
           COALESCE(s.assigned, 0) AS units, asked.counted
    FROM unnest(CAST(:experiment_ids AS uuid[]), CAST(:counted AS bigint[])) asked (id, counted)
    JOIN experiment_metric em ON em.experiment_id = asked.id AND em.role = 'primary'
    JOIN allocation_weight w ON w.experiment_id = em.experiment_id
    LEFT JOIN moment_statistic s
        ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id
       AND s.variant_id = w.variant_id AND s.dimension = 'epoch' AND s.level = w.epoch::text
), shared AS (
    SELECT experiment_id, variant_id, units,
           CASE WHEN is_open
                THEN GREATEST(0, LEAST(sum(units) OVER split,
                                       counted - sum(units) OVER until + sum(units) OVER split))
                     / count(*) FILTER (WHERE is_open) OVER split
                ELSE 0 END AS uniform_units
    FROM cell
    WINDOW split AS (PARTITION BY experiment_id, epoch),
           until AS (PARTITION BY experiment_id ORDER BY epoch)
)
SELECT shared.experiment_id, v.variant_name AS name, v.traffic_weight AS weight,
       sum(shared.units)::bigint AS units,
       sum(shared.uniform_units)::double precision AS uniform_units
FROM shared JOIN ab_variants v ON v.id = shared.variant_id
GROUP BY shared.experiment_id, v.id
ORDER BY shared.experiment_id, v.is_control DESC, v.variant_name COLLATE "C";

-- name: bandit_epochs
-- Every split of one experiment, with the units that came to each arm in it.
SELECT a.epoch, a.started_at, a.actor, a.reason,
       json_agg(json_build_object(
           'name', v.variant_name, 'weight', w.weight, 'units', COALESCE(s.assigned, 0)
       ) ORDER BY v.is_control DESC, v.variant_name COLLATE "C") AS arms
FROM allocation a
JOIN allocation_weight w ON (w.experiment_id, w.epoch) = (a.experiment_id, a.epoch)
JOIN ab_variants v ON v.id = w.variant_id
LEFT JOIN experiment_metric em ON em.experiment_id = a.experiment_id AND em.role = 'primary'
LEFT JOIN moment_statistic s
    ON s.experiment_id = a.experiment_id AND s.metric_id = em.metric_id AND s.variant_id = v.id
   AND s.dimension = 'epoch' AND s.level = a.epoch::text
WHERE a.experiment_id = :experiment_id
GROUP BY a.experiment_id, a.epoch
ORDER BY a.epoch;
