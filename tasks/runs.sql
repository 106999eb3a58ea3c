-- name: start_run
-- A run starts, or starts again after it died.
INSERT INTO headway.run (id, flow, entrypoint, mode, parameters, actor, reason)
VALUES (:id, :flow, :entrypoint, CAST(:mode AS headway.run_mode), CAST(:parameters AS jsonb),
        :actor, :reason)
ON CONFLICT (id) DO UPDATE SET state = 'running', message = NULL, finished_at = NULL;

-- name: finish_run
-- A run ended in this state.
UPDATE headway.run
SET state = CAST(:state AS headway.run_state), message = :message, finished_at = clock_timestamp()
WHERE id = :id;

-- name: find_run
-- One run by its id.
SELECT id, flow, entrypoint, mode, parameters, actor, reason, state, message,
       started_at, finished_at
FROM headway.run WHERE id = :id;

-- name: latest_runs
-- The newest runs first.
SELECT CAST(id AS text) AS id, flow, mode, state, actor, message, started_at, finished_at
FROM headway.run ORDER BY started_at DESC LIMIT :limit;
