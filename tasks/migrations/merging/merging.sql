-- name: tables
-- Tables that a project's revisions may have put rows into.
SELECT n.nspname AS schema_name, c.relname AS table_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> :version_table
    AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive')
    AND n.nspname NOT LIKE 'pg\_%'
ORDER BY 1, 2;
