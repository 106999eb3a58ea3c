-- name: history_version
-- Which columns the history has here: 0 without one, 2 with what revisions said.
SELECT CASE WHEN to_regclass('headway.migration_run') IS NULL THEN 0
            WHEN to_regclass('headway.schema_fingerprint') IS NULL THEN 1
            ELSE 2 END;

-- name: events
-- What happened to each revision, in order; a stamp counts as verified once the schema was
-- compared after it.
SELECT id AS position, revision, down_revision AS parents, direction, content_checksum AS checksum,
       script_checksum, source IS NOT NULL AS is_stored, actor, finished_at AS at,
       coalesce(finished_at <= (SELECT max(recorded_at) FROM headway.schema_fingerprint), false)
           AS is_verified
FROM headway.migration_run
WHERE outcome = 'done'
ORDER BY id;

-- name: events_before_contents
-- The same from a history that was never brought up to date.
SELECT id AS position, revision, down_revision AS parents, direction, content_checksum AS checksum,
       NULL AS script_checksum, false AS is_stored, actor, finished_at AS at, false AS is_verified
FROM headway.migration_run
ORDER BY id;

-- name: stored_contents
-- What these revisions said when they were applied last (or when they were reformatted since).
SELECT DISTINCT ON (revision) revision, content_checksum AS checksum, script_checksum, source,
       upgrade_sql, downgrade_sql, renderer
FROM headway.migration_run
WHERE revision = ANY(:revisions) AND direction <> 'downgrade' AND outcome = 'done'
    AND source IS NOT NULL
ORDER BY revision, id DESC;

-- name: version_tables
-- Tables of this name, with a version table's column, in any schema but the configured one.
SELECT n.nspname AS schema_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
WHERE c.relname = :version_table AND c.relkind IN ('r', 'p')
    AND n.nspname NOT LIKE 'pg\_temp\_%'
    AND c.oid IS DISTINCT FROM CAST(to_regclass(:configured) AS oid)
    AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1;
