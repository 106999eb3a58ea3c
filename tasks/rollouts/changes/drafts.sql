-- name: insert_rollout
-- Nothing is inserted where the name is taken.
INSERT INTO rollout
    (name, model_version, experiment_id, variant, salt, is_salt_inherited, hash_version,
     percentage, state, stage_index, stage_entered_at, policy, control_version, organization,
     exclusion_group, starts_at, requests_per_hour, is_fail_closed, tick_seconds,
     respects_holdouts, created_at)
VALUES
    (:name, :model_version, :experiment_id, :variant, :salt, :is_salt_inherited, :hash_version,
     :percentage, CAST(:state AS rollout_state), 0, :now, CAST(:policy AS jsonb), :control_version,
     :organization, :exclusion_group, :starts_at, :requests_per_hour, :is_fail_closed,
     :tick_seconds, :respects_holdouts, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: insert_stages
-- The stages of a plan, in their order.
INSERT INTO rollout_stage (rollout_id, stage_index, percentage, duration_seconds)
SELECT :rollout_id, number - 1, percentage, hours * 3600
FROM unnest(CAST(:percentages AS double precision[]), CAST(:hours AS double precision[]))
    WITH ORDINALITY AS stage (percentage, hours, number);

-- name: delete_stages
-- The stages of a draft that gets others, or goes.
DELETE FROM rollout_stage WHERE rollout_id = :rollout_id;

-- name: update_draft
-- A draft as it is planned now.
UPDATE rollout SET
    model_version = :model_version,
    policy = CAST(:policy AS jsonb),
    control_version = :control_version,
    organization = :organization,
    exclusion_group = :exclusion_group,
    starts_at = :starts_at,
    requests_per_hour = :requests_per_hour,
    is_fail_closed = :is_fail_closed,
    tick_seconds = :tick_seconds,
    respects_holdouts = :respects_holdouts,
    version = version + 1
WHERE id = :id AND state = 'draft';

-- name: delete_draft
-- Only a draft can go; what was done to it stays in the audit.
DELETE FROM rollout WHERE id = :rollout_id AND state = 'draft';

-- name: salt_of_version
-- The same users carry the risk again. Nobody has seen what was only planned.
SELECT salt
FROM rollout
WHERE model_version = :model_version AND state NOT IN ('draft', 'scheduled')
ORDER BY id DESC
LIMIT 1;

-- name: lock_start
-- Two that start the same version, or in the same group, wait for each other.
SELECT pg_advisory_xact_lock(hashtextextended(place, 0))
FROM unnest(CAST(:places AS text[])) AS place;

-- name: in_the_way
-- Which rollouts of the version or of the group are under way, or will be.
SELECT name, state, model_version = :model_version AS is_of_version
FROM rollout
WHERE state IN ('scheduled', 'running', 'paused', 'manual_hold')
    AND id IS DISTINCT FROM CAST(:rollout_id AS bigint)
    AND (model_version = :model_version OR exclusion_group = CAST(:exclusion_group AS text))
ORDER BY id;

-- name: set_salt
-- A rollout that has not begun yet may still change who its users are.
UPDATE rollout SET salt = :salt, is_salt_inherited = :is_salt_inherited WHERE id = :rollout_id;
