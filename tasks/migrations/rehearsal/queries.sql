-- name: settle_values
-- Let values be written the same, whatever a revision has set.
SELECT set_config(s.name, s.value, true)
FROM (VALUES ('search_path', ''), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'),
             ('TimeZone', 'UTC'), ('extra_float_digits', '3'), ('bytea_output', 'hex'),
             ('lc_monetary', 'C'), ('row_security', 'off')) AS s (name, value);

-- name: checksum_tables
-- Tables with rows (partitioned ones as a whole), their columns and primary key.
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       n.nspname AS schema_name, c.relname AS table_name,
       c.relkind = 'p' AS is_partitioned,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')
           AS columns,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index AS i
                 CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 WHERE i.indrelid = c.oid AND i.indisprimary), '{}') AS key_columns
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive')
ORDER BY 1;

-- name: surroundings
-- What a statement may have changed about each table: its file, rows read and written, our locks.
-- Locks on what has no row among the tables come without a name: it was dropped, or is no table.
WITH own_lock AS (
    SELECT relation, array_agg(mode) AS modes
    FROM pg_locks
    WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY relation),
one_table AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
      AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive')
      AND c.relname <> :version_table)
SELECT coalesce(one_table.oid, own_lock.relation)::bigint AS oid,
       one_table.name,
       pg_relation_filenode(one_table.oid)::bigint AS file,
       pg_stat_get_xact_tuples_returned(one_table.oid) AS scanned,
       pg_stat_get_xact_tuples_inserted(one_table.oid)
           + pg_stat_get_xact_tuples_updated(one_table.oid)
           + pg_stat_get_xact_tuples_deleted(one_table.oid) AS written,
       coalesce(own_lock.modes, '{}') AS modes
FROM one_table
FULL JOIN own_lock ON own_lock.relation = one_table.oid;

-- name: tables_to_wait_for
-- Tables that others may use already, by identity.
SELECT oid::bigint FROM pg_class WHERE relkind IN ('r', 'p', 'm');

-- name: locks_of_session
-- Locks of another session on tables, as far as their names are known here.
SELECT relation::bigint, mode
FROM pg_locks
WHERE pid = :pid AND locktype = 'relation' AND granted;

-- name: flush_statistics
-- Let what an ended transaction counted be seen.
SELECT pg_stat_force_next_flush();

-- name: counted
-- What ended transactions have read and written.
SELECT relid::bigint, seq_tup_read, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables;

-- name: columns_now
-- Columns of tables by identity, so that a rename is none that is gone.
SELECT a.attrelid::bigint AS oid, a.attnum AS number, n.nspname AS schema_name,
       c.relname AS table_name, a.attname AS column_name,
       format_type(a.atttypid, a.atttypmod) AS type,
       coalesce(pg_partition_root(c.oid)::oid, c.oid)::bigint AS root
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                          AND a.attgenerated = ''
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive');

-- name: tables_now
-- Tables by identity, and the table that each is a partition of in the end.
SELECT c.oid::bigint AS oid, n.nspname AS schema_name, c.relname AS table_name,
       format('%I.%I', n.nspname, c.relname) AS name,
       coalesce(pg_partition_root(c.oid)::oid, c.oid)::bigint AS root,
       ARRAY(SELECT con.conrelid::bigint FROM pg_constraint AS con
             WHERE con.contype = 'f' AND con.confrelid = c.oid
               AND (con.confdeltype IN ('c', 'n', 'd') OR con.confupdtype IN ('c', 'n', 'd')))
           AS followers,
       EXISTS (SELECT FROM pg_trigger AS trigger
               WHERE trigger.tgrelid = c.oid AND NOT trigger.tgisinternal) AS has_triggers
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive');

-- name: sequences_now
-- Sequences by identity.
SELECT c.oid::bigint AS oid, n.nspname AS schema_name, c.relname AS sequence_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive');

-- name: enums_now
-- Values of enum types.
SELECT n.nspname AS schema_name, t.typname AS type_name,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid
             ORDER BY e.enumsortorder) AS labels
FROM pg_type AS t
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE t.typtype = 'e' AND n.nspname NOT IN ('headway', 'headway_archive');
