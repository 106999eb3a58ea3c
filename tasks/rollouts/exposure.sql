-- name: exposure
-- What decides who sees the version: its newest rollout that has begun; 0 % while that is closed.
SELECT salt, percentage FROM rollout_exposure(:model_version);
