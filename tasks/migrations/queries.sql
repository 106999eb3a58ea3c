-- name: set_timeouts
-- How long a statement may wait for a lock, and run at all (0 = no limit).
SELECT set_config('lock_timeout', :lock_timeout, :is_local),
       set_config('statement_timeout', :statement_timeout, :is_local);

-- name: lock_for_session
-- One migrating session per database; waits at most lock_timeout.
SELECT pg_advisory_lock(:key);

-- name: lock_for_transaction
-- The same lock, until the end of the transaction.
SELECT pg_advisory_xact_lock(:key);

-- name: unlock_session
-- Let the next session migrate.
SELECT pg_advisory_unlock(:key);

-- name: lock_holders
-- Other sessions of this database that hold the migration lock or tables; a table that the
-- failed statement mentions comes first.
WITH held AS (
    SELECT l.pid,
           coalesce(c.relname, 'the migration lock') AS what,
           l.mode,
           coalesce(position(c.relname IN :statement) > 0,
                    position('pg_advisory' IN :statement) > 0) AS is_wanted
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
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 80) AS query,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float AS seconds,
       string_agg(DISTINCT h.what || ' in ' || h.mode, ', ') AS held
FROM held AS h
JOIN pg_stat_activity AS a ON a.pid = h.pid
WHERE h.is_wanted OR NOT EXISTS (SELECT FROM held WHERE is_wanted)
GROUP BY a.pid, a.usename, a.application_name, a.state, a.query, a.xact_start
ORDER BY a.xact_start
LIMIT 3;
