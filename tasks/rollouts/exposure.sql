-- name: exposure
-- What decides who sees the version: its newest rollout that has begun; 0 % while that is closed.
SELECT salt, percentage, holdouts IS NOT NULL AS asks_holdouts
FROM rollout_exposure(:model_version);

-- name: held_out
-- Of these users those that keep the old version, because a holdout holds them out.
SELECT held_out
FROM rollout_exposure(:model_version) AS exposure
CROSS JOIN LATERAL held_out_of(exposure.holdouts, CAST(:user_ids AS text[])) AS held_out;
