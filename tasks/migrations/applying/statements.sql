-- name: known_statements
-- What was done of a revision since it last came to its end; the last word on each position.
SELECT DISTINCT ON (s.position) s.id, s.position, s.statement_hash, s.statement, s.state
FROM headway.migration_statement AS s
WHERE s.revision = :revision AND s.direction = :direction
    AND s.started_at > coalesce((
        SELECT max(r.finished_at) FROM headway.migration_run AS r
        WHERE r.revision = :revision AND r.outcome = 'done'
    ), '-infinity')
ORDER BY s.position, s.id DESC;

-- name: write_statement
-- A statement is about to be sent (started), or was part of what is committed now (done).
INSERT INTO headway.migration_statement
    (environment, revision, direction, position, statement_hash, statement, state, run_id,
     finished_at)
VALUES (:environment, :revision, :direction, :position, :statement_hash, :statement, :state,
        CAST(:run_id AS uuid), CASE WHEN :state = 'done' THEN clock_timestamp() END)
RETURNING id;

-- name: end_statement
-- What became of a statement that was sent.
UPDATE headway.migration_statement
SET state = :state, sqlstate = :sqlstate, finished_at = clock_timestamp()
WHERE id = :id;

-- name: has_written
-- Has this transaction written anything?
SELECT pg_current_xact_id_if_assigned() IS NOT NULL;

-- name: index_of_table
-- The index of that name on the table: is it valid, and does anybody else build it right now?
SELECT i.indexrelid::regclass::text AS name, i.indisvalid AS is_valid,
    EXISTS (SELECT FROM pg_stat_progress_create_index AS p
            WHERE p.index_relid = i.indexrelid AND p.pid <> pg_backend_pid()) AS is_being_built
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(:table)
    AND c.relname = (SELECT parts[array_upper(parts, 1)] FROM parse_ident(:index) AS parts);

-- name: index_exists
-- Is there an index (or anything) of that name?
SELECT to_regclass(:index) IS NOT NULL;

-- name: key_of_invalid_index
-- What an invalid unique index of that name would have made unique.
SELECT i.indrelid::regclass::text AS table_name,
    (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n)
     FROM generate_series(1, i.indnkeyatts) AS n) AS keys,
    pg_get_expr(i.indpred, i.indrelid) AS predicate
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relname = :index AND i.indisunique AND NOT i.indisvalid
LIMIT 1;

-- name: record_lock_time
-- One lock of one revision, as predicted and as measured.
INSERT INTO headway.lock_time
    (run_id, environment, revision, direction, relation, mode, predicted_ms, actual_ms)
VALUES (CAST(:run_id AS uuid), :environment, :revision, :direction, :relation, :mode,
        :predicted_ms, :actual_ms);

-- name: record_failure
-- A try that failed, after it was rolled back: what it sent last, and what the database said.
INSERT INTO headway.migration_run
    (environment, revision, direction, content_checksum, script_checksum, run_id, actor, reason,
     outcome, statement, sqlstate, message, started_at)
VALUES (:environment, :revision, :direction, :content_checksum, :script_checksum,
        CAST(:run_id AS uuid), :actor, :reason, 'failed', :statement, :sqlstate, :message,
        :started_at);
