-- name: last_checks
-- What the last tick that looked at a rollout's health found.
SELECT
    slot, metric, verdict, reason_code, message, value, operator, limit_value AS "limit",
    sample_count, min_samples, control_value, control_count, guard, action, is_shadow, is_shared,
    evidence, shadow_guard, shadow_verdict, shadow_message, window_start, window_end, checked_at,
    decision_id
FROM health_check
WHERE rollout_id = :rollout_id
    AND slot = (SELECT max(slot) FROM health_check WHERE rollout_id = :rollout_id)
ORDER BY id;

-- name: open_alerts
-- What is known to be wrong with a rollout and not resolved.
SELECT id, metric, severity, state, title, message, occurrences, opened_at, acknowledged_at
FROM alert
WHERE subject = :subject AND state <> 'resolved'
ORDER BY opened_at DESC, id DESC;

-- name: origin
-- The experiment that a rollout follows.
SELECT
    ab_experiments.experiment_name AS experiment,
    coalesce(rollout_origin.variant_name, rollout.variant) AS variant,
    rollout_origin.decision_id
FROM rollout
LEFT JOIN rollout_origin ON rollout_origin.rollout_id = rollout.id
JOIN ab_experiments
    ON ab_experiments.id = coalesce(rollout_origin.experiment_id, rollout.experiment_id)
WHERE rollout.id = :rollout_id;

-- name: changes
-- What was done to a rollout, the newest first.
SELECT id, changed_at, cause, old_percentage, new_percentage, old_state, new_state, actor, reason,
    slot, version, decision_id, health_check_id
FROM rollout_change
WHERE rollout_id = :rollout_id
ORDER BY id DESC
LIMIT :limit;

-- name: moves
-- What changed a rollout's percentage or state, in order; of very many the newest.
SELECT changed_at AS at, cause, new_percentage AS percentage, new_state AS state
FROM (
    SELECT *
    FROM rollout_change
    WHERE rollout_id = :rollout_id AND cause NOT IN ('noop', 'edit')
    ORDER BY id DESC
    LIMIT 200
) AS newest
ORDER BY id;

-- name: measurements
-- What was measured of each metric, in order; of very many the newest.
SELECT metric, checked_at AS at, value, control_value AS control, limit_value AS "limit", verdict
FROM (
    SELECT *, row_number() OVER (PARTITION BY metric ORDER BY id DESC) AS age
    FROM health_check
    WHERE rollout_id = :rollout_id
) AS check_by_age
WHERE age <= 200
ORDER BY id;
