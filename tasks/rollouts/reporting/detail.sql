-- name: last_checks
-- What the last tick that looked at the health of each rollout found.
SELECT
    rollout_id, slot, metric, verdict, reason_code, message, value, operator,
    limit_value AS "limit", sample_count, min_samples, control_value, control_count, guard, action,
    is_shadow, is_shared, evidence, shadow_guard, shadow_verdict, shadow_message, window_start,
    window_end, checked_at, decision_id
FROM unnest(CAST(:rollout_ids AS bigint[])) AS asked (id)
JOIN health_check
    ON rollout_id = asked.id
    AND slot = (SELECT max(latest.slot) FROM health_check latest WHERE latest.rollout_id = asked.id)
ORDER BY health_check.id;

-- name: open_alerts
-- What is known to be wrong with the rollouts and not resolved.
SELECT
    asked.id AS rollout_id, alert.id, metric, severity, state, title, message, occurrences,
    opened_at, acknowledged_at
FROM unnest(CAST(:rollout_ids AS bigint[])) AS asked (id)
JOIN alert ON subject = 'rollout:' || asked.id AND state <> 'resolved'
ORDER BY opened_at DESC, alert.id DESC;

-- name: last_decisions
-- What was decided last about each rollout.
SELECT asked.id AS rollout_id, latest.*
FROM unnest(CAST(:rollout_ids AS bigint[])) AS asked (id)
CROSS JOIN LATERAL (
    SELECT id, verdict, reasons, decided_at
    FROM headway.decision
    WHERE subject = 'rollout:' || asked.id
    ORDER BY id DESC
    LIMIT 1
) AS latest;

-- name: origins
-- The experiments that the rollouts follow.
SELECT
    rollout.id AS rollout_id,
    ab_experiments.experiment_name AS experiment,
    coalesce(rollout_origin.variant_name, rollout.variant) AS variant,
    rollout_origin.decision_id
FROM rollout
LEFT JOIN rollout_origin ON rollout_origin.rollout_id = rollout.id
JOIN ab_experiments
    ON ab_experiments.id = coalesce(rollout_origin.experiment_id, rollout.experiment_id)
WHERE rollout.id = ANY(CAST(:rollout_ids AS bigint[]));

-- name: holdouts
-- The holdouts that keep users of the rollouts on the old version: the share that they hold out, of
-- those that they target, and how many of them are known so far.
SELECT
    rollout.id AS rollout_id, h.name, e.status, v.traffic_weight * h.fraction AS share,
    p.target_rules <> '[]' AS is_targeted,
    (SELECT count(*) FROM ab_assignments a
     WHERE a.experiment_id = h.experiment_id AND a.variant_id = h.held_out) AS users
FROM rollout
CROSS JOIN LATERAL unnest(respected_holdouts(rollout.id)) AS h
JOIN ab_experiments e ON e.id = h.experiment_id
JOIN experiment_plan p ON p.experiment_id = h.experiment_id
JOIN ab_variants v ON v.id = h.held_out
WHERE rollout.id = ANY(CAST(:rollout_ids AS bigint[]))
    AND rollout.respects_holdouts AND rollout.percentage > 0
ORDER BY h.name COLLATE "C";

-- name: changes
-- What was done to each rollout, the newest first.
SELECT newest.*
FROM unnest(CAST(:rollout_ids AS bigint[])) AS asked (id)
CROSS JOIN LATERAL (
    SELECT
        rollout_id, id, changed_at, cause, old_percentage, new_percentage, old_state, new_state,
        actor, reason, slot, version, decision_id, health_check_id
    FROM rollout_change
    WHERE rollout_id = asked.id
    ORDER BY id DESC
    LIMIT :limit
) AS newest
ORDER BY newest.id DESC;

-- name: moves
-- What changed the percentage or state of each rollout, in order; of very many the newest.
SELECT
    rollout_id, changed_at AS at, cause, new_percentage AS percentage, new_state AS state
FROM unnest(CAST(:rollout_ids AS bigint[])) AS asked (id)
CROSS JOIN LATERAL (
    SELECT *
    FROM rollout_change
    WHERE rollout_id = asked.id AND cause NOT IN ('noop', 'edit')
    ORDER BY id DESC
    LIMIT 200
) AS newest
ORDER BY newest.id;

-- name: measurements
-- What was measured of each metric of each rollout, in order; of very many the newest.
SELECT rollout_id, metric, checked_at AS at, value, control_value AS control,
    limit_value AS "limit", verdict
FROM (
    SELECT *, row_number() OVER (PARTITION BY rollout_id, metric ORDER BY id DESC) AS age
    FROM health_check
    WHERE rollout_id = ANY(CAST(:rollout_ids AS bigint[]))
) AS check_by_age
WHERE age <= 200
ORDER BY id;
