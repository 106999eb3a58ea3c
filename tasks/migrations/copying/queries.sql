-- name: settle_source
-- Let every value be written so that the copy reads the same, and never wait long for a lock;
-- older servers do not know each of these.
SELECT set_config(name, s.value, false)
FROM (VALUES ('search_path', ''), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'),
             ('TimeZone', 'UTC'), ('extra_float_digits', '3'), ('bytea_output', 'hex'),
             ('lc_monetary', 'C'), ('xmloption', 'content'), ('row_security', 'off'),
             ('lock_timeout', '2s'), ('statement_timeout', '0'), ('transaction_timeout', '0'),
             ('idle_in_transaction_session_timeout', '0')) AS s (name, value)
JOIN pg_settings USING (name);

-- name: settle_scratch
-- The same in the copy, which need not survive a crash.
SELECT set_config(s.name, s.value, false)
FROM (VALUES ('search_path', ''), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'),
             ('TimeZone', 'UTC'), ('lc_monetary', 'C'), ('xmloption', 'content'),
             ('lock_timeout', '0'), ('statement_timeout', '0'),
             ('synchronous_commit', 'off')) AS s (name, value);

-- name: export_snapshot
-- The name by which other sessions see exactly what this transaction sees.
SELECT pg_export_snapshot();

-- name: server
-- Major version, and whether we may do everything there.
SELECT current_setting('server_version_num')::int / 10000 AS major,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser;

-- name: has_schema_public
-- A new database has it, this one may not.
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public');

-- name: roles_in_use
-- Roles that objects of this database belong to or are granted to.
SELECT DISTINCT r.rolname
FROM pg_shdepend AS d
JOIN pg_roles AS r ON r.oid = d.refobjid
WHERE d.refclassid = 'pg_authid'::regclass
  AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY r.rolname;

-- name: known_roles
-- Roles of this server.
SELECT rolname FROM pg_roles;

-- name: tables
-- Tables that hold rows of their own (of partitioned ones the leaves), and what COPY may name.
SELECT c.oid,
       coalesce(pg_partition_root(c.oid)::oid, c.oid) AS root,
       n.nspname AS schema_name,
       c.relname AS table_name,
       format('%I.%I', n.nspname, c.relname) AS name,
       c.reltuples::float8 AS estimated_rows,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.attgenerated = ''), '{}') AS columns,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index AS i
                 CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
                 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
                 WHERE i.indrelid = c.oid AND i.indisprimary), '{}') AS key_columns
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname <> ALL (CAST(:excluded AS text[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname;

-- name: foreign_keys
-- Foreign keys with the operators by which they compare; of partitioned tables only the root's.
SELECT CASE WHEN child.relkind = 'p' THEN '' ELSE 'ONLY ' END
           || format('%I.%I', cn.nspname, child.relname) AS child,
       CASE WHEN parent.relkind = 'p' THEN '' ELSE 'ONLY ' END
           || format('%I.%I', pn.nspname, parent.relname) AS parent_rows,
       parent.oid AS parent_oid,
       format('%I.%I', pn.nspname, parent.relname) AS parent,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute AS a
                 WHERE a.attrelid = parent.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.attgenerated = ''), '{}') AS parent_columns,
       keys.child_columns, keys.key_columns, keys.types, keys.child_operators, keys.key_operators
FROM pg_constraint AS con
JOIN pg_class AS child ON child.oid = con.conrelid
JOIN pg_namespace AS cn ON cn.oid = child.relnamespace
JOIN pg_class AS parent ON parent.oid = con.confrelid
JOIN pg_namespace AS pn ON pn.oid = parent.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(ca.attname::text ORDER BY position) AS child_columns,
           array_agg(pa.attname::text ORDER BY position) AS key_columns,
           array_agg(format_type(pa.atttypid, NULL) ORDER BY position) AS types,
           array_agg(format('OPERATOR(%I.%s)', on1.nspname, o1.oprname) ORDER BY position)
               AS child_operators,
           array_agg(format('OPERATOR(%I.%s)', on2.nspname, o2.oprname) ORDER BY position)
               AS key_operators
    FROM unnest(con.conkey, con.confkey, con.conpfeqop, con.conppeqop)
         WITH ORDINALITY AS k (child_number, parent_number, pf_operator, pp_operator, position)
    JOIN pg_attribute AS ca ON ca.attrelid = child.oid AND ca.attnum = k.child_number
    JOIN pg_attribute AS pa ON pa.attrelid = parent.oid AND pa.attnum = k.parent_number
    JOIN pg_operator AS o1 ON o1.oid = k.pf_operator
    JOIN pg_namespace AS on1 ON on1.oid = o1.oprnamespace
    JOIN pg_operator AS o2 ON o2.oid = k.pp_operator
    JOIN pg_namespace AS on2 ON on2.oid = o2.oprnamespace) AS keys
WHERE con.contype = 'f' AND con.conparentid = 0
  AND cn.nspname <> ALL (CAST(:excluded AS text[]))
  AND pn.nspname <> ALL (CAST(:excluded AS text[]))
ORDER BY con.oid;

-- name: sequences
-- Sequences of these schemas.
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.nspname <> ALL (CAST(:excluded AS text[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1;

-- name: maskable_columns
-- Columns of tables (of partitioned ones the root), and what decides whether they can be masked.
SELECT c.oid AS root, n.nspname AS schema_name, c.relname AS table_name, a.attname AS column_name,
       format_type(a.atttypid, a.atttypmod) AS type,
       base.typname AS base_type,
       base.typcategory::text AS category,
       CASE WHEN base.typname IN ('varchar', 'bpchar')
            THEN CASE WHEN t.typbasetype = 0 THEN nullif(a.atttypmod, -1)
                      ELSE nullif(t.typtypmod, -1) END - 4 END AS length,
       a.attnotnull OR t.typnotnull AS is_not_null,
       EXISTS (SELECT FROM pg_constraint AS con
               WHERE (con.contype IN ('p', 'f') AND con.conrelid = c.oid
                      AND a.attnum = ANY (con.conkey))
                  OR (con.contype = 'f' AND con.confrelid = c.oid
                      AND a.attnum = ANY (con.confkey)))
           OR EXISTS (SELECT FROM pg_partitioned_table AS p
                      WHERE p.partrelid = c.oid AND a.attnum = ANY (p.partattrs::int2[]))
           AS is_key,
       EXISTS (SELECT FROM pg_index AS i
               WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey::int2[]))
           AS is_unique,
       a.attgenerated <> '' AS is_generated
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_type AS base ON base.oid = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema';
