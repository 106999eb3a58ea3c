-- name: run_of_revision
-- Did this run move this revision in this direction?
SELECT started_at, finished_at
FROM headway.migration_run
WHERE run_id = CAST(:run_id AS uuid) AND revision = :revision AND direction = :direction
    AND outcome = 'done'
ORDER BY id DESC
LIMIT 1;

-- name: history_exists
-- Has schema `headway` been made here?
SELECT to_regclass('headway.migration_run') IS NOT NULL;

-- name: invalid_indexes
-- Indexes that a failed concurrent build left behind: they cost writes and answer nothing.
SELECT c.relname
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND NOT i.indisvalid
    AND c.relkind = 'i' -- one of a partitioned table is invalid until all its parts are attached
ORDER BY c.relname;

-- name: unvalidated_constraints
-- Constraints that hold for new rows only.
SELECT t.relname || '.' || o.conname
FROM pg_constraint AS o
JOIN pg_class AS t ON t.oid = o.conrelid
JOIN pg_namespace AS n ON n.oid = o.connamespace
WHERE n.nspname = current_schema() AND NOT o.convalidated
ORDER BY 1;
