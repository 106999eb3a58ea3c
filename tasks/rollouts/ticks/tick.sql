-- name: active_rollouts
-- What a tick has to look at: every rollout that waits for its time or has not ended.
SELECT id AS rollout_id, name, headway.clock_now() AS now
FROM rollout
WHERE state IN ('scheduled', 'running', 'paused', 'manual_hold')
ORDER BY id;

-- name: lock_rollouts
-- Serialise decisions about rollouts; always in the same order, so that no two wait for each other.
-- Who locks them reads them afterwards: only then is nobody else's tick missed.
SELECT id FROM rollout WHERE id = ANY(CAST(:rollout_ids AS bigint[])) ORDER BY id FOR UPDATE;

-- name: rollouts_under_way
-- Which versions and groups are taken, and by which rollout.
SELECT name, model_version, exclusion_group
FROM rollout
WHERE state IN ('running', 'paused', 'manual_hold')
    AND (model_version = ANY(CAST(:versions AS text[]))
        OR exclusion_group = ANY(CAST(:groups AS text[])));

-- name: record_ticks
-- All that a tick of a batch leaves: verdicts on health, the audit and the new standings. The
-- unique key of the checks makes a repeated tick impossible.
WITH checked AS (
    INSERT INTO health_check
        (rollout_id, slot, metric, verdict, reason_code, message, value, operator, limit_value,
         sample_count, min_samples, window_start, window_end, decision_id, checked_at, guard,
         action, is_shadow, is_shared, control_value, control_count, evidence, shadow_guard,
         shadow_verdict, shadow_message)
    SELECT
        rollout_id, slot, metric, verdict, reason_code, message, value, operator, limit_value,
        sample_count, min_samples, window_start, window_end, decision_id, checked_at, guard,
        action, is_shadow, is_shared, control_value, control_count, evidence, shadow_guard,
        shadow_verdict, shadow_message
    FROM jsonb_to_recordset(CAST(:checks AS jsonb)) AS judged(
        rollout_id bigint, slot text, metric text, verdict health_verdict, reason_code text,
        message text, value float8, operator text, limit_value float8, sample_count bigint,
        min_samples bigint, window_start timestamptz, window_end timestamptz, decision_id bigint,
        checked_at timestamptz, guard text, action text, is_shadow boolean, is_shared boolean,
        control_value float8, control_count bigint, evidence jsonb, shadow_guard text,
        shadow_verdict health_verdict, shadow_message text)
    ORDER BY rollout_id, metric
    RETURNING id, rollout_id, metric
),
changed AS (
    INSERT INTO rollout_change
        (rollout_id, old_percentage, new_percentage, old_state, new_state, cause, actor, reason,
         slot, decision_id, health_check_id, changed_at, version)
    SELECT
        change.rollout_id, old_percentage, new_percentage, old_state, new_state, cause, actor,
        reason, slot, decision_id, checked.id, changed_at, version
    FROM jsonb_to_recordset(CAST(:changes AS jsonb)) AS change(
        rollout_id bigint, old_percentage float8, new_percentage float8, old_state rollout_state,
        new_state rollout_state, cause text, actor text, reason text, slot text,
        decision_id bigint, deciding_metric text, changed_at timestamptz, version integer)
    LEFT JOIN checked
        ON checked.rollout_id = change.rollout_id AND checked.metric = change.deciding_metric
    ORDER BY change.rollout_id
)
UPDATE rollout SET
    percentage = standing.percentage,
    state = standing.state,
    stage_index = standing.stage_index,
    stage_entered_at = standing.stage_entered_at,
    paused_at = standing.paused_at,
    paused_seconds = standing.paused_seconds,
    inconclusive_since = standing.inconclusive_since,
    is_hold_escalated = standing.is_hold_escalated,
    source_error_count = standing.source_error_count,
    streaks = standing.streaks,
    ticked_at = greatest(rollout.ticked_at, standing.ticked_at),
    finished_at = standing.finished_at,
    version = standing.version
FROM jsonb_to_recordset(CAST(:standings AS jsonb)) AS standing(
    id bigint, percentage float8, state rollout_state, stage_index integer,
    stage_entered_at timestamptz, paused_at timestamptz, paused_seconds float8,
    inconclusive_since timestamptz, is_hold_escalated boolean, source_error_count integer,
    streaks jsonb, ticked_at timestamptz, finished_at timestamptz, version integer)
WHERE rollout.id = standing.id;
