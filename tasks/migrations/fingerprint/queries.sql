-- Each query gives one row per object: what identifies it (class_oid, oid, sub_id, parent_oid,
-- kind, name), and its attributes as the columns after that. The settings come first, so that
-- every deparsed text is qualified and none depends on the session.

-- name: settle_session
-- Deparsed texts must not depend on who asks; a view that somebody has locked is not waited for long.
SELECT set_config('search_path', 'pg_catalog', true),
       set_config('quote_all_identifiers', 'off', true),
       set_config('TimeZone', 'UTC', true),
       set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true),
       set_config('bytea_output', 'hex', true),
       CASE WHEN current_setting('lock_timeout') IN ('0', '0ms')
            THEN set_config('lock_timeout', '5s', true) END;

-- name: surroundings
-- The server's major version, the default schema, and the schemas that are looked at.
SELECT current_setting('server_version_num')::int / 10000 AS server_major,
       current_schema() AS default_schema,
       ARRAY(
           SELECT n.oid::bigint FROM pg_namespace AS n
           WHERE n.nspname !~ '^pg_'
             AND n.nspname <> ALL (ARRAY['information_schema', 'headway', 'headway_archive'])
             AND (CAST(:schemas AS text[]) IS NULL OR n.nspname = ANY (CAST(:schemas AS text[])))
       ) AS namespaces;

-- name: schemas
-- Schemas.
SELECT 'pg_namespace'::regclass::oid::bigint AS class_oid, n.oid::bigint AS oid, 0 AS sub_id,
       'schema' AS kind, quote_ident(n.nspname) AS name,
       quote_ident(pg_get_userbyid(n.nspowner)) AS owner
FROM pg_namespace AS n
WHERE n.oid = ANY (CAST(:namespaces AS oid[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
                    AND d.deptype = 'e');

-- name: relations
-- Tables, views and materialised views.
SELECT 'pg_class'::regclass::oid::bigint AS class_oid, c.oid::bigint AS oid, 0 AS sub_id,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END
           AS kind,
       format('%I.%I', n.nspname, c.relname) AS name,
       n.nspname AS raw_schema, c.relname AS raw_name,
       CASE c.relkind WHEN 'r' THEN 'ordinary' WHEN 'p' THEN 'partitioned'
                      WHEN 'f' THEN 'foreign' END AS table_kind,
       CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END AS persistence,
       CASE WHEN c.relkind IN ('r', 'p') THEN
           CASE c.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
                               WHEN 'i' THEN 'index' ELSE 'default' END END AS replica_identity,
       CASE WHEN c.relkind IN ('r', 'p') THEN c.relrowsecurity END AS row_security,
       CASE WHEN c.relkind IN ('r', 'p') THEN c.relforcerowsecurity END AS force_row_security,
       quote_ident(pg_get_userbyid(c.relowner)) AS owner,
       ARRAY(SELECT unnest(c.reloptions) ORDER BY 1) AS options,
       ARRAY(SELECT unnest(t.reloptions) ORDER BY 1) AS toast_options,
       (SELECT quote_ident(am.amname) FROM pg_am AS am WHERE am.oid = c.relam) AS access_method,
       (SELECT quote_ident(s.spcname) FROM pg_tablespace AS s WHERE s.oid = c.reltablespace)
           AS tablespace,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       CASE WHEN c.relispartition THEN (
           SELECT format('%s %s', i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid))
           FROM pg_inherits AS i WHERE i.inhrelid = c.oid) END AS partition,
       CASE WHEN NOT c.relispartition THEN ARRAY(
           SELECT i.inhparent::regclass::text FROM pg_inherits AS i
           WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) END AS inherits,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition,
       CASE WHEN c.relkind IN ('v', 'm') THEN ARRAY(
           SELECT format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
           FROM pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum) END AS shape,
       (SELECT quote_ident(s.srvname) FROM pg_foreign_server AS s WHERE s.oid = f.ftserver)
           AS server,
       f.ftoptions AS foreign_options,
       CASE WHEN c.relkind IN ('r', 'p', 'f') THEN ARRAY(
           SELECT quote_ident(a.attname) FROM pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum) END AS column_order
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
LEFT JOIN pg_foreign_table AS f ON f.ftrelid = c.oid
WHERE n.oid = ANY (CAST(:namespaces AS oid[])) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e');

-- name: columns
-- Columns of tables; of views only those that carry a default of their own, a comment or a grant.
SELECT 'pg_class'::regclass::oid::bigint AS class_oid, c.oid::bigint AS oid,
       a.attnum::int AS sub_id, c.oid::bigint AS parent_oid,
       'column' AS kind, format('%I.%I.%I', n.nspname, c.relname, a.attname) AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS "default",
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END AS generated,
       CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END AS generated_kind,
       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END AS identity,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
           AS collation,
       CASE WHEN a.attstorage <> t.typstorage THEN
           CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external'
                             WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' END END AS storage,
       CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END AS compression,
       nullif((to_jsonb(a) ->> 'attstattarget')::int, -1) AS statistics,
       -- Only what a user can set: some builds keep marks of their own beside it.
       ARRAY(SELECT option FROM unnest(a.attoptions) AS option WHERE option ~ '^n_distinct')
           AS options,
       a.attfdwoptions AS foreign_options
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.oid = ANY (CAST(:namespaces AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
  AND (c.relkind IN ('r', 'p', 'f')
       OR (c.relkind IN ('v', 'm')
           AND (d.oid IS NOT NULL OR a.attacl IS NOT NULL
                OR col_description(c.oid, a.attnum) IS NOT NULL)));

-- name: constraints
-- Constraints of tables. NOT NULL is the column's own attribute, whatever the major version; a
-- constraint trigger is a trigger; what Postgres adds for partitions of a referenced table is
-- implied.
SELECT 'pg_constraint'::regclass::oid::bigint AS class_oid, o.oid::bigint AS oid, 0 AS sub_id,
       o.conrelid::bigint AS parent_oid,
       'constraint' AS kind, format('%I.%I.%I', n.nspname, c.relname, o.conname) AS name,
       format('%I.%I', n.nspname, c.relname) AS table_name,
       o.conname AS raw_name, c.relname AS raw_table,
       CASE WHEN i.indexrelid IS NULL OR o.contype = 'f' THEN ARRAY(
           SELECT a.attname FROM unnest(o.conkey) WITH ORDINALITY AS k (attnum, position)
           JOIN pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
           ORDER BY k.position)
       ELSE ARRAY(
           SELECT a.attname FROM pg_attribute AS a
           WHERE a.attrelid = i.indexrelid AND a.attnum > 0 ORDER BY a.attnum) END AS columns,
       CASE o.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'
                      WHEN 'c' THEN 'check' WHEN 'x' THEN 'exclude' END
           AS constraint_kind,
       pg_get_constraintdef(o.oid) AS definition,
       o.convalidated AS validated,
       CASE WHEN o.condeferred THEN 'initially deferred' WHEN o.condeferrable THEN 'deferrable' END
           AS deferrable,
       (to_jsonb(o) ->> 'conenforced')::boolean IS NOT FALSE AS enforced,
       CASE WHEN o.contype = 'c' THEN o.connoinherit END AS no_inherit,
       CASE WHEN o.contype = 'c' THEN pg_get_expr(o.conbin, o.conrelid) END AS expression,
       CASE WHEN o.contype = 'f' THEN format('%s (%s)', o.confrelid::regclass, (
           SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.position)
           FROM unnest(o.confkey) WITH ORDINALITY AS k (attnum, position)
           JOIN pg_attribute AS a ON a.attrelid = o.confrelid AND a.attnum = k.attnum))
           END AS "references",
       CASE WHEN o.contype = 'f' THEN
           CASE o.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict'
                WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END
           END AS on_delete,
       CASE WHEN o.contype = 'f' THEN
           CASE o.confupdtype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict'
                WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END
           END AS on_update,
       CASE o.confmatchtype WHEN 'f' THEN 'full' WHEN 'p' THEN 'partial' END AS match,
       i.indnullsnotdistinct AS nulls_not_distinct,
       CASE WHEN x.relkind = 'i' THEN i.indisvalid AND i.indisready END AS valid,
       i.indisclustered AS clustered,
       i.indisreplident AS is_replica_identity,
       ARRAY(SELECT unnest(x.reloptions) ORDER BY 1) AS options,
       (SELECT quote_ident(s.spcname) FROM pg_tablespace AS s WHERE s.oid = x.reltablespace)
           AS tablespace
FROM pg_constraint AS o
JOIN pg_class AS c ON c.oid = o.conrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint AS above ON above.oid = o.conparentid
LEFT JOIN pg_index AS i ON i.indexrelid = o.conindid AND o.contype IN ('p', 'u', 'x')
LEFT JOIN pg_class AS x ON x.oid = i.indexrelid
WHERE n.oid = ANY (CAST(:namespaces AS oid[])) AND o.contype IN ('p', 'u', 'f', 'c', 'x')
  AND (above.oid IS NULL OR above.confrelid = o.confrelid);

-- name: indexes
-- Indexes that no constraint owns.
SELECT 'pg_class'::regclass::oid::bigint AS class_oid, x.oid::bigint AS oid, 0 AS sub_id,
       i.indrelid::bigint AS parent_oid,
       'index' AS kind, format('%I.%I', n.nspname, x.relname) AS name,
       format('%I.%I', tn.nspname, c.relname) AS table_name,
       x.relname AS raw_name, c.relname AS raw_table,
       ARRAY(SELECT a.attname FROM pg_attribute AS a
             WHERE a.attrelid = x.oid AND a.attnum > 0 ORDER BY a.attnum) AS columns,
       replace(pg_get_indexdef(x.oid), format(' INDEX %I ON ', x.relname), ' INDEX ON ')
           AS definition,
       i.indisunique AS "unique",
       (SELECT am.amname FROM pg_am AS am WHERE am.oid = x.relam) AS method,
       ARRAY(SELECT pg_get_indexdef(x.oid, position, false)
             FROM generate_series(1, i.indnatts) AS position ORDER BY position) AS keys,
       pg_get_expr(i.indpred, i.indrelid) AS predicate,
       i.indnullsnotdistinct AS nulls_not_distinct,
       CASE WHEN x.relkind = 'i' THEN i.indisvalid AND i.indisready END AS valid,
       i.indisclustered AS clustered,
       i.indisreplident AS is_replica_identity,
       (SELECT h.inhparent::regclass::text FROM pg_inherits AS h WHERE h.inhrelid = x.oid) IS NOT NULL
           AS is_partition,
       ARRAY(SELECT unnest(x.reloptions) ORDER BY 1) AS options,
       (SELECT quote_ident(s.spcname) FROM pg_tablespace AS s WHERE s.oid = x.reltablespace)
           AS tablespace
FROM pg_index AS i
JOIN pg_class AS x ON x.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = x.relnamespace
JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_namespace AS tn ON tn.oid = c.relnamespace
WHERE n.oid = ANY (CAST(:namespaces AS oid[]))
  AND NOT EXISTS (SELECT FROM pg_constraint AS o
                  WHERE o.conindid = x.oid AND o.contype IN ('p', 'u', 'x'));

-- name: sequences
-- Sequences and what they count with; never where they stand. Identity sequences are the column's.
SELECT 'pg_class'::regclass::oid::bigint AS class_oid, c.oid::bigint AS oid, 0 AS sub_id,
       d.refobjid::bigint AS parent_oid, d.refobjsubid::int AS parent_sub_id,
       'sequence' AS kind, format('%I.%I', n.nspname, c.relname) AS name,
       c.relname AS raw_name, t.relname AS raw_table, a.attname AS raw_column,
       d.deptype = 'i' AS is_identity,
       format_type(s.seqtypid, NULL) AS type,
       s.seqstart AS start, s.seqincrement AS increment, s.seqmin AS min_value,
       s.seqmax AS max_value, s.seqcache AS cache, s.seqcycle AS cycle,
       CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END AS persistence,
       quote_ident(pg_get_userbyid(c.relowner)) AS owner
FROM pg_sequence AS s
JOIN pg_class AS c ON c.oid = s.seqrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
LEFT JOIN pg_class AS t ON t.oid = d.refobjid
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE n.oid = ANY (CAST(:namespaces AS oid[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                    AND e.deptype = 'e');

-- name: functions
-- Functions, procedures and aggregates.
SELECT 'pg_proc'::regclass::oid::bigint AS class_oid, p.oid::bigint AS oid, 0 AS sub_id,
       CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END
           AS kind,
       format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
           AS name,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS definition,
       pg_get_function_arguments(p.oid) AS arguments,
       pg_get_function_result(p.oid) AS returns,
       (SELECT l.lanname FROM pg_language AS l WHERE l.oid = p.prolang) AS language,
       CASE WHEN p.prokind <> 'a' THEN coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) END
           AS body,
       CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END
           AS volatility,
       CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END
           AS parallel,
       p.prosecdef AS security_definer,
       p.proisstrict AS strict,
       p.proleakproof AS leakproof,
       p.procost AS cost,
       p.prorows AS rows,
       ARRAY(SELECT unnest(p.proconfig) ORDER BY 1) AS settings,
       CASE WHEN p.prokind = 'a' THEN
           jsonb_build_object(
               'sfunc', g.aggtransfn::regproc::text, 'stype', format_type(g.aggtranstype, NULL),
               'finalfunc', g.aggfinalfn::regproc::text, 'initcond', g.agginitval,
               'combinefunc', g.aggcombinefn::regproc::text, 'sortop', g.aggsortop::regoper::text,
               'kind', g.aggkind) END AS aggregate,
       quote_ident(pg_get_userbyid(p.proowner)) AS owner
FROM pg_proc AS p
JOIN pg_namespace AS n ON n.oid = p.pronamespace
LEFT JOIN pg_aggregate AS g ON g.aggfnoid = p.oid
WHERE n.oid = ANY (CAST(:namespaces AS oid[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                    AND d.deptype IN ('e', 'i'));

-- name: triggers
-- Triggers; a partition's clone only where it is not enabled as its original.
SELECT 'pg_trigger'::regclass::oid::bigint AS class_oid, t.oid::bigint AS oid, 0 AS sub_id,
       t.tgrelid::bigint AS parent_oid,
       'trigger' AS kind, format('%I.%I.%I', n.nspname, c.relname, t.tgname) AS name,
       pg_get_triggerdef(t.oid) AS definition,
       CASE t.tgenabled WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
                        ELSE 'always' END AS enabled
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger AS above ON above.oid = t.tgparentid
WHERE n.oid = ANY (CAST(:namespaces AS oid[])) AND NOT t.tgisinternal
  AND (above.oid IS NULL OR above.tgenabled <> t.tgenabled);

-- name: rules
-- Rewrite rules, without the one that makes a view a view.
SELECT 'pg_rewrite'::regclass::oid::bigint AS class_oid, r.oid::bigint AS oid, 0 AS sub_id,
       r.ev_class::bigint AS parent_oid,
       'rule' AS kind, format('%I.%I.%I', n.nspname, c.relname, r.rulename) AS name,
       pg_get_ruledef(r.oid) AS definition,
       CASE r.ev_enabled WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
                         ELSE 'always' END AS enabled
FROM pg_rewrite AS r
JOIN pg_class AS c ON c.oid = r.ev_class
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.oid = ANY (CAST(:namespaces AS oid[])) AND r.rulename <> '_RETURN';

-- name: policies
-- Row level security: which rows whom.
SELECT 'pg_policy'::regclass::oid::bigint AS class_oid, p.oid::bigint AS oid, 0 AS sub_id,
       p.polrelid::bigint AS parent_oid,
       'policy' AS kind, format('%I.%I.%I', n.nspname, c.relname, p.polname) AS name,
       CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                     WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
       p.polpermissive AS permissive,
       ARRAY(SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END
             FROM unnest(p.polroles) AS role ORDER BY 1) AS roles,
       pg_get_expr(p.polqual, p.polrelid) AS "using",
       pg_get_expr(p.polwithcheck, p.polrelid) AS "check"
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.oid = ANY (CAST(:namespaces AS oid[]));

-- name: types
-- Enums, domains, composite and range types.
SELECT 'pg_type'::regclass::oid::bigint AS class_oid, t.oid::bigint AS oid, 0 AS sub_id,
       CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range type'
                      WHEN 'b' THEN 'base type' ELSE 'composite type' END AS kind,
       format('%I.%I', n.nspname, t.typname) AS name,
       CASE WHEN t.typtype = 'e' THEN ARRAY(
           SELECT e.enumlabel FROM pg_enum AS e WHERE e.enumtypid = t.oid
           ORDER BY e.enumsortorder) END AS labels,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS type,
       CASE WHEN t.typtype = 'd' THEN t.typnotnull END AS not_null,
       CASE WHEN t.typtype = 'd' THEN t.typdefault END AS "default",
       CASE WHEN t.typtype = 'd' AND t.typcollation <> (
           SELECT b.typcollation FROM pg_type AS b WHERE b.oid = t.typbasetype)
           THEN t.typcollation::regcollation::text END AS collation,
       CASE WHEN t.typtype = 'd' THEN ARRAY(
           SELECT CASE WHEN o.conname ~ ('^' || t.typname || '_check[0-9]*$') THEN ''
                       ELSE format('CONSTRAINT %I ', o.conname) END
                  || pg_get_constraintdef(o.oid)
           FROM pg_constraint AS o WHERE o.contypid = t.oid AND o.contype = 'c'
           ORDER BY 1) END AS checks,
       CASE WHEN t.typtype = 'd' THEN (
           SELECT jsonb_object_agg(pg_get_constraintdef(o.oid), o.conname)
           FROM pg_constraint AS o WHERE o.contypid = t.oid AND o.contype = 'c')
           END AS chosen_names,
       CASE WHEN t.typtype = 'c' THEN ARRAY(
           SELECT concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                            CASE WHEN a.attcollation <> b.typcollation
                                 THEN 'COLLATE ' || a.attcollation::regcollation END)
           FROM pg_attribute AS a JOIN pg_type AS b ON b.oid = a.atttypid
           WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum) END AS attributes,
       (SELECT format_type(r.rngsubtype, NULL) FROM pg_range AS r WHERE r.rngtypid = t.oid)
           AS subtype,
       quote_ident(pg_get_userbyid(t.typowner)) AS owner
FROM pg_type AS t
JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE n.oid = ANY (CAST(:namespaces AS oid[]))
  AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
       OR (t.typtype = 'b' AND t.typcategory <> 'A'))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                    AND d.deptype = 'e');

-- name: extensions
-- Extensions, in place of everything that they bring.
SELECT 'pg_extension'::regclass::oid::bigint AS class_oid, e.oid::bigint AS oid, 0 AS sub_id,
       'extension' AS kind, quote_ident(e.extname) AS name,
       quote_ident(n.nspname) AS schema, e.extversion AS version
FROM pg_extension AS e
JOIN pg_namespace AS n ON n.oid = e.extnamespace;

-- name: extended_statistics
-- Statistics that the planner was told to gather.
SELECT 'pg_statistic_ext'::regclass::oid::bigint AS class_oid, s.oid::bigint AS oid, 0 AS sub_id,
       s.stxrelid::bigint AS parent_oid,
       'statistics' AS kind, format('%I.%I', n.nspname, s.stxname) AS name,
       pg_get_statisticsobjdef(s.oid) AS definition,
       nullif((to_jsonb(s) ->> 'stxstattarget')::int, -1) AS statistics,
       quote_ident(pg_get_userbyid(s.stxowner)) AS owner
FROM pg_statistic_ext AS s
JOIN pg_namespace AS n ON n.oid = s.stxnamespace
WHERE n.oid = ANY (CAST(:namespaces AS oid[]));

-- name: default_privileges
-- What whom is granted on objects to come.
SELECT 'pg_default_acl'::regclass::oid::bigint AS class_oid, a.oid::bigint AS oid, 0 AS sub_id,
       'default privileges' AS kind,
       format('of %I%s on %s', pg_get_userbyid(a.defaclrole), ' in schema ' || quote_ident(n.nspname),
              CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
                   WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas'
                   ELSE 'large objects' END) AS name,
       ARRAY(SELECT format('%s TO %s%s', g.privilege_type,
                           CASE g.grantee WHEN 0 THEN 'PUBLIC' WHEN a.defaclrole THEN 'OWNER'
                                ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                           CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM aclexplode(a.defaclacl) AS g ORDER BY 1) AS grants
FROM pg_default_acl AS a
LEFT JOIN pg_namespace AS n ON n.oid = a.defaclnamespace
WHERE a.defaclnamespace = 0 OR n.oid = ANY (CAST(:namespaces AS oid[]));

-- name: event_triggers
-- Event triggers.
SELECT 'pg_event_trigger'::regclass::oid::bigint AS class_oid, t.oid::bigint AS oid, 0 AS sub_id,
       'event trigger' AS kind, quote_ident(t.evtname) AS name,
       t.evtevent AS event, t.evtfoid::regprocedure::text AS function,
       ARRAY(SELECT unnest(t.evttags) ORDER BY 1) AS tags,
       CASE t.evtenabled WHEN 'O' THEN 'origin' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
                         ELSE 'always' END AS enabled,
       quote_ident(pg_get_userbyid(t.evtowner)) AS owner
FROM pg_event_trigger AS t
WHERE NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid
                    AND d.deptype = 'e');

-- name: other_objects
-- What is rare: that it exists is all that is said of it.
SELECT o.class_oid::bigint AS class_oid, o.oid::bigint AS oid, 0 AS sub_id,
       i.type AS kind, i.identity AS name
FROM (
    SELECT 'pg_collation'::regclass AS class_oid, oid, collnamespace AS namespace FROM pg_collation
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace FROM pg_opfamily
    UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
) AS o
CROSS JOIN LATERAL pg_identify_object(o.class_oid, o.oid, 0) AS i
WHERE o.namespace = ANY (CAST(:namespaces AS oid[]))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = o.class_oid AND d.objid = o.oid AND d.deptype = 'e');

-- name: comments
-- Comments on anything that a user made, and on schemas.
SELECT classoid::bigint AS class_oid, objoid::bigint AS oid, objsubid::int AS sub_id, description
FROM pg_description
WHERE objoid >= 16384 OR classoid = 'pg_namespace'::regclass;

-- name: grants
-- How privileges differ from what an object has when nobody was granted or refused anything.
WITH given AS (
    SELECT 'pg_class'::regclass AS class_oid, oid, 0 AS sub_id, relowner AS owner, relacl AS acl,
           acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, relowner)
               AS initial
    FROM pg_class WHERE relacl IS NOT NULL AND relnamespace = ANY (CAST(:namespaces AS oid[]))
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, c.relowner, a.attacl,
           acldefault('c'::"char", c.relowner)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND c.relnamespace = ANY (CAST(:namespaces AS oid[]))
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, acldefault('f'::"char", proowner)
    FROM pg_proc WHERE proacl IS NOT NULL AND pronamespace = ANY (CAST(:namespaces AS oid[]))
    UNION ALL
    SELECT 'pg_type'::regclass, oid, 0, typowner, typacl, acldefault('T'::"char", typowner)
    FROM pg_type WHERE typacl IS NOT NULL AND typnamespace = ANY (CAST(:namespaces AS oid[]))
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl, acldefault('n'::"char", nspowner)
    FROM pg_namespace WHERE nspacl IS NOT NULL AND oid = ANY (CAST(:namespaces AS oid[]))
)
SELECT g.class_oid::oid::bigint AS class_oid, g.oid::bigint AS oid, g.sub_id::int AS sub_id,
       array_agg(DISTINCT format('%s%s TO %s%s', d.sign, d.privilege_type,
                        CASE d.grantee WHEN 0 THEN 'PUBLIC' WHEN g.owner THEN 'OWNER'
                             ELSE quote_ident(pg_get_userbyid(d.grantee)) END,
                        CASE WHEN d.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)) AS grants
FROM given AS g
CROSS JOIN LATERAL (
    (SELECT '' AS sign, grantee, privilege_type, is_grantable FROM aclexplode(g.acl)
     EXCEPT
     SELECT '', grantee, privilege_type, is_grantable FROM aclexplode(g.initial))
    UNION ALL
    (SELECT 'no ', grantee, privilege_type, is_grantable FROM aclexplode(g.initial)
     EXCEPT
     SELECT 'no ', grantee, privilege_type, is_grantable FROM aclexplode(g.acl))
) AS d
GROUP BY g.class_oid, g.oid, g.sub_id;
