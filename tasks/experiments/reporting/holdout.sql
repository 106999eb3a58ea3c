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

-- name: launches
-- How far the winners of these experiments reached beyond their own arms: the share of everybody
-- else's time, from :since to :until, that had them. Where the winner has a rollout, or the plan
-- asks for one, that is its percentage over time; else the application shows the winner to all
-- from the completion on.
WITH won AS (
    SELECT e.id, e.completed_at, v.variant_name, v.model_version, p.policy
    FROM ab_experiments e
    JOIN experiment_plan p ON p.experiment_id = e.id
    JOIN ab_variants v ON v.experiment_id = e.id
        AND v.variant_name = e.winner_variant AND NOT v.is_control
    WHERE e.id = ANY(CAST(:ids AS uuid[]))
), rolled AS (
    SELECT won.id, r.id AS rollout_id, r.respects_holdouts
    FROM won
    JOIN rollout r ON (r.experiment_id = won.id AND r.variant = won.variant_name)
        OR r.model_version = won.model_version
), moved AS (
    SELECT rolled.id, c.new_percentage AS percentage, c.changed_at AS lower,
           lead(c.changed_at) OVER (PARTITION BY rolled.id ORDER BY c.changed_at, c.id) AS upper,
           rolled.respects_holdouts
    FROM rolled
    JOIN rollout_change c ON c.rollout_id = rolled.rollout_id
        AND c.new_state NOT IN ('draft', 'scheduled')
    UNION ALL
    SELECT won.id, 100, won.completed_at, NULL, true
    FROM won
    WHERE won.policy <> 'roll_out' AND NOT EXISTS (SELECT FROM rolled WHERE rolled.id = won.id)
), had AS (
    SELECT id, percentage / 100 AS share, respects_holdouts,
           greatest(lower, :since) AS lower, least(coalesce(upper, :until), :until) AS upper
    FROM moved
    WHERE percentage > 0 AND lower <= :until AND coalesce(upper, :until) >= :since
)
SELECT won.id, count(had.id) > 0 AS is_launched,
       coalesce(bool_or(NOT had.respects_holdouts), false) AS reaches_held_out,
       coalesce(sum(had.share * extract(epoch FROM had.upper - had.lower))
           / nullif(extract(epoch FROM CAST(:until AS timestamptz) - :since), 0), 0)
           ::double precision AS reach
FROM won
LEFT JOIN had ON had.id = won.id
GROUP BY won.id;

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
