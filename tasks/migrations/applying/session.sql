-- name: set_timeouts
-- How long a statement may wait for a lock, and run at all (0 = no limit).
SELECT set_config('lock_timeout', :lock_timeout, :is_local),
       set_config('statement_timeout', :statement_timeout, :is_local);

-- name: try_lock_for_session
-- One migrating session per database. It asks and does not wait: who waits has a snapshot, which
-- CREATE INDEX CONCURRENTLY of the session that migrates would wait for in turn.
SELECT pg_try_advisory_lock(:key);

-- name: try_lock_for_transaction
-- The same lock, until the end of the transaction.
SELECT pg_try_advisory_xact_lock(:key);

-- name: may_count_up
-- Is schema `headway` here, new enough, and may this role write the history?
SELECT coalesce(has_table_privilege(to_regclass('headway.migration_fence'), 'UPDATE'), false);

-- name: count_up
-- Whoever holds the migration lock has the highest number.
UPDATE headway.migration_fence SET token = token + 1 RETURNING token;

-- name: read_token
-- The number of the last one who took the migration lock.
SELECT token FROM headway.migration_fence;

-- name: look_at_lock
-- Does this backend hold the migration lock? And which locks does it hold that keep others from
-- writing to a table, or from reading it?
SELECT
    coalesce(bool_or(l.locktype = 'advisory'
        AND ((l.classid::bigint << 32) | l.objid::bigint) = CAST(:key AS bigint)), false) AS is_held,
    coalesce(jsonb_agg(DISTINCT jsonb_build_array(format('%I.%I', n.nspname, c.relname), l.mode))
        FILTER (WHERE c.oid IS NOT NULL), '[]') AS locks
FROM pg_locks AS l
LEFT JOIN pg_class AS c ON l.locktype = 'relation' AND c.oid = l.relation
    AND c.relkind IN ('r', 'p', 'm')
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND c.relnamespace NOT IN (
        SELECT oid FROM pg_namespace
        WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'headway')
    )
LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: lock_holders
-- Other sessions of this database that hold the migration lock or tables; a table that the
-- failed statement mentions comes first.
WITH held AS (
    SELECT l.pid,
           coalesce(c.relname, 'the migration lock') AS what,
           l.mode,
           coalesce(position(c.relname IN :statement) > 0,
                    position('pg_try_advisory' IN :statement) > 0) AS is_wanted
    FROM pg_locks AS l
    LEFT JOIN pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE l.granted
      AND l.pid NOT IN (pg_backend_pid(), :own_pid)
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (
          (l.locktype = 'relation' AND n.nspname NOT IN ('pg_catalog', 'information_schema'))
          OR (l.locktype = 'advisory'
              AND ((l.classid::bigint << 32) | l.objid::bigint) = CAST(:key AS bigint))
      )
)
SELECT a.pid,
       a.usename,
       a.application_name,
       a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change))::float
           AS seconds,
       string_agg(DISTINCT h.what || ' in ' || h.mode, ', ') AS held
FROM held AS h
JOIN pg_stat_activity AS a ON a.pid = h.pid
WHERE h.is_wanted OR NOT EXISTS (SELECT FROM held WHERE is_wanted)
GROUP BY a.pid, a.usename, a.application_name, a.state, a.state_change, a.xact_start
ORDER BY seconds DESC
LIMIT 3;

-- name: migrating_backends
-- Sessions of Headway's that hold the migration lock of this database.
SELECT a.pid, a.application_name
FROM pg_locks AS l
JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = CAST(:key AS bigint)
    AND a.application_name LIKE 'headway-migrate/%';

-- name: terminate_backend
-- End a session and wait until it is gone, at most this long.
SELECT pg_terminate_backend(:pid, :milliseconds);

-- name: failed_tries
-- How often this run has failed at this revision.
SELECT count(*)
FROM headway.migration_run
WHERE run_id = CAST(:run_id AS uuid) AND revision = :revision AND outcome = 'failed';
