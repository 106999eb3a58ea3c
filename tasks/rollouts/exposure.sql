-- name: exposure
-- What decides who sees the version: its newest rollout that has begun; 0 % while that is closed.
SELECT salt, percentage, holdouts IS NOT NULL AS asks_holdouts
FROM rollout_exposure(:model_version);

-- name: held_out
-- Of these users those that keep the old version, because a holdout holds them out.
SELECT held_out
FROM rollout_exposure(:model_version) AS exposure
CROSS JOIN LATERAL held_out_of(exposure.holdouts, CAST(:user_ids AS text[])) AS held_out;

-- name: held_out_by
-- Which of the holdouts that the version respects hold this user out.
SELECT holdout.name
FROM rollout_exposure(:model_version) AS exposure
CROSS JOIN LATERAL unnest(exposure.holdouts) AS holdout
WHERE is_held_out(ARRAY[holdout], :user_id)
ORDER BY holdout.name COLLATE "C";
