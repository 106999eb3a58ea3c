-- name: lock_rollout
-- Serialise decisions about one rollout.
SELECT
    rollout.*,
    (SELECT jsonb_agg(
        jsonb_build_object('percentage', percentage, 'hours', duration_seconds / 3600)
        ORDER BY rollout_stage.stage_index)
     FROM rollout_stage
     WHERE rollout_stage.rollout_id = rollout.id) AS stages
FROM rollout
WHERE id = :rollout_id
FOR UPDATE OF rollout;

-- name: rollouts
-- Every rollout with its stages, or the one of a name, the newest first.
SELECT
    rollout.*,
    (SELECT jsonb_agg(
        jsonb_build_object('percentage', percentage, 'hours', duration_seconds / 3600)
        ORDER BY rollout_stage.stage_index)
     FROM rollout_stage
     WHERE rollout_stage.rollout_id = rollout.id) AS stages
FROM rollout
WHERE CAST(:name AS text) IS NULL OR name = :name
ORDER BY id DESC;

-- name: rollout_id
-- The number of a rollout, by its name.
SELECT id FROM rollout WHERE name = :name;

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

-- name: exposure
-- What decides who sees the version: its newest rollout, whatever its state.
SELECT salt, percentage FROM rollout_exposure(:model_version);

-- name: record_sample
-- The application's own way in.
SELECT record_health_sample(
    CAST(:model_version AS text), CAST(:metric AS text), CAST(:value_sum AS double precision),
    CAST(:sample_count AS bigint), CAST(:observed_at AS timestamptz), CAST(:source AS text),
    CAST(:square_sum AS double precision));
