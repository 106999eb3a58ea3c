-- name: lock_rollout
-- Serialise decisions about one rollout. Who locks it reads it afterwards: only then is nobody
-- else's change missed.
SELECT id FROM rollout WHERE name = :name FOR UPDATE;

-- name: rollouts
-- Rollouts with their stages and what their ticks left: all, or these numbers or names, the newest
-- first. That is the slot that was decided last, where its windows ended, and the open alerts. Also
-- the holdouts that keep users out of it.
SELECT
    rollout.*,
    headway.clock_now() AS now,
    (SELECT jsonb_agg(
        jsonb_build_object('percentage', percentage, 'hours', duration_seconds / 3600)
        ORDER BY rollout_stage.stage_index)
     FROM rollout_stage
     WHERE rollout_stage.rollout_id = rollout.id) AS stages,
    greatest(latest_check.slot, latest_change.slot) AS latest_slot,
    latest_check.window_end AS latest_window_end,
    coalesce(open_alert.metrics, '{}') AS alerted,
    CASE WHEN rollout.respects_holdouts AND rollout.percentage > 0
        THEN ARRAY(SELECT name FROM unnest(respected_holdouts(rollout.id)))
        ELSE '{}' END AS holdouts
FROM rollout
LEFT JOIN LATERAL (
    SELECT slot, window_end
    FROM health_check
    WHERE health_check.rollout_id = rollout.id
    ORDER BY slot DESC
    LIMIT 1
) AS latest_check ON true
CROSS JOIN LATERAL (
    SELECT max(slot) AS slot FROM rollout_change WHERE rollout_change.rollout_id = rollout.id
) AS latest_change
CROSS JOIN LATERAL (
    SELECT array_agg(metric) AS metrics
    FROM alert
    WHERE subject = 'rollout:' || rollout.id AND alert.state <> 'resolved'
) AS open_alert
WHERE (CAST(:rollout_ids AS bigint[]) IS NULL OR rollout.id = ANY(CAST(:rollout_ids AS bigint[])))
    AND (CAST(:names AS text[]) IS NULL OR rollout.name = ANY(CAST(:names AS text[])))
ORDER BY rollout.id DESC;

-- name: save_rollout
-- The new standing of a locked rollout.
UPDATE rollout SET
    percentage = :percentage,
    state = CAST(:state AS rollout_state),
    stage_index = :stage_index,
    stage_entered_at = :stage_entered_at,
    paused_at = :paused_at,
    paused_seconds = :paused_seconds,
    inconclusive_since = :inconclusive_since,
    is_hold_escalated = :is_hold_escalated,
    source_error_count = :source_error_count,
    streaks = CAST(:streaks AS jsonb),
    ticked_at = :ticked_at,
    starts_at = :starts_at,
    finished_at = :finished_at,
    version = version + 1
WHERE id = :id AND version = :version;

-- name: record_change
-- The audit: append-only.
INSERT INTO rollout_change
    (rollout_id, old_percentage, new_percentage, old_state, new_state, cause, actor, reason,
     slot, decision_id, health_check_id, changed_at, version)
VALUES
    (:rollout_id, :old_percentage, :new_percentage, CAST(:old_state AS rollout_state),
     CAST(:new_state AS rollout_state), :cause, :actor, :reason,
     :slot, :decision_id, :health_check_id, :changed_at, :version);
