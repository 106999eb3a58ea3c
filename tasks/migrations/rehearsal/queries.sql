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
