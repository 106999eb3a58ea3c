-- name: holdout
-- A holdout with its primary metric; whether it is one at all.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, e.started_at, e.completed_at,
       COALESCE(p.is_holdout, false) AS is_holdout, p.organization, em.metric_id, m.name AS metric,
       m.kind, m.is_higher_better, em.alpha, headway.clock_now() AS now
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
WHERE e.experiment_name = :name;

-- name: completed_since
-- Experiments that asked the holdout and were completed while it ran, the oldest first.
SELECT e.id, e.experiment_name AS name, e.completed_at, e.winner_variant AS winner,
       p.target_rules <> '[]' AS is_targeted
FROM ab_experiments e
JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.status IN ('completed', 'archived') AND NOT p.is_holdout
  AND (CAST(:organization AS text) IS NULL OR p.organization = :organization)
  AND e.completed_at >= :since AND e.completed_at <= :until
ORDER BY e.completed_at, e.experiment_name;

-- name: assigned_before
-- Units that had an arm before the holdout began, in experiments that ran on: nobody asked the
-- holdout about them.
SELECT e.experiment_name AS experiment, count(*) AS units
FROM ab_experiments e
JOIN experiment_plan p ON p.experiment_id = e.id AND NOT p.is_holdout
JOIN ab_assignments a ON a.experiment_id = e.id AND a.assigned_at < :since AND NOT a.is_override
WHERE (CAST(:organization AS text) IS NULL OR p.organization = :organization)
  AND (e.completed_at IS NULL OR e.completed_at >= :since)
GROUP BY e.experiment_name
ORDER BY e.experiment_name;

-- name: held_out_elsewhere
-- Units that are held out and have an arm of another experiment all the same, from before; of one
-- that was over when the holdout began it is the past of all units alike.
SELECT count(*) AS units
FROM ab_assignments a
JOIN ab_variants v ON v.id = a.variant_id AND v.is_control
WHERE a.experiment_id = :holdout_id AND EXISTS (
    SELECT FROM ab_assignments other
    JOIN ab_experiments e ON e.id = other.experiment_id
    JOIN experiment_plan p ON p.experiment_id = e.id AND NOT p.is_holdout
    WHERE other.user_id = a.user_id AND NOT other.is_override
      AND (e.completed_at IS NULL OR e.completed_at >= :since)
      AND (CAST(:organization AS text) IS NULL OR p.organization = :organization));

-- name: reported_holdouts
-- Which of these experiments are holdouts that have begun.
SELECT e.experiment_name
FROM ab_experiments e JOIN experiment_plan p ON p.experiment_id = e.id AND p.is_holdout
WHERE e.experiment_name = ANY(CAST(:names AS text[])) AND e.started_at IS NOT NULL AND EXISTS (
    SELECT FROM experiment_metric em WHERE em.experiment_id = e.id AND em.role = 'primary')
ORDER BY e.experiment_name;
