-- name: begin_survey
-- Look at one moment, wait for nobody: a migration may be holding what is looked at.
SELECT set_config('lock_timeout', '300ms', true), set_config('statement_timeout', '20s', true);

-- name: place
-- Is this database only being read from?
SELECT pg_is_in_recovery() AS is_standby,
       current_setting('default_transaction_read_only')::boolean AS is_read_only;

-- name: executed
-- What each revision said when it last ran here, or was adopted.
SELECT DISTINCT ON (revision) revision, direction, script_checksum, sql_checksum, renderer
FROM headway.migration_run
WHERE direction IN ('upgrade', 'adopt', 'cosmetic') AND outcome = 'done'
ORDER BY revision, id DESC;

-- name: last_run
-- The newest row of the history.
SELECT revision, direction, outcome, actor, finished_at,
       extract(epoch FROM finished_at - started_at)::float AS seconds
FROM headway.migration_run
ORDER BY id DESC
LIMIT 1;

-- name: last_run_before_contents
-- The same from a history that was never brought up to date.
SELECT revision, direction, 'done' AS outcome, actor, finished_at,
       extract(epoch FROM finished_at - started_at)::float AS seconds
FROM headway.migration_run
ORDER BY id DESC
LIMIT 1;
