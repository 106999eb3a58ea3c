-- name: run_of_revision
-- Did this run move this revision in this direction?
SELECT started_at, finished_at
FROM headway.migration_run
WHERE run_id = CAST(:run_id AS uuid) AND revision = :revision AND direction = :direction
    AND outcome = 'done'
ORDER BY id DESC
LIMIT 1;

-- name: losses_of_run
-- What this run found out, before it undid the revision, that this would lose.
SELECT inputs
FROM headway.decision
WHERE rule = 'rollback-losses' AND subject = :subject AND run_id = CAST(:run_id AS uuid)
ORDER BY id DESC
LIMIT 1;

-- name: history_exists
-- Has schema `headway` been made here?
SELECT to_regclass('headway.migration_run') IS NOT NULL;

-- name: table_columns
-- Every column of every table in the default schema, by the identity that a rename keeps.
SELECT c.oid::bigint AS table_oid, c.relname AS table_name,
       a.attnum AS column_number, a.attname AS column_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
ORDER BY c.relname, a.attnum;

-- name: forbid_commit
-- Until the savepoint is rolled back, no COMMIT succeeds: it would check a key that leads nowhere.
DO $$
BEGIN
    CREATE TEMPORARY TABLE headway_trial (
        id integer PRIMARY KEY,
        nowhere integer CONSTRAINT headway_may_not_commit
            REFERENCES headway_trial DEFERRABLE INITIALLY DEFERRED
    ) ON COMMIT DROP;
    INSERT INTO headway_trial VALUES (1, 2);
END $$;

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
