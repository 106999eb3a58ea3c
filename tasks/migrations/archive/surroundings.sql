-- name: objects
-- What belongs to tables (or, with column numbers, to columns of one), as the statements that
-- make it, each with a condition that tells whether it is there. Run with only pg_catalog in the
-- search path, so that every name is qualified.
WITH relation AS (
    SELECT c.oid, c.oid::regclass::text AS name, c.relname, c.relnamespace, tree.level,
           CAST(:columns AS int2[]) AS columns, CAST(:columns AS int2[]) IS NULL AS is_whole
    FROM (SELECT CAST(:relation AS oid) AS relid, 0 AS level
          UNION
          SELECT relid, level FROM pg_partition_tree(CAST(:relation AS oid))
          WHERE CAST(:columns AS int2[]) IS NULL) AS tree
    JOIN pg_class AS c ON c.oid = tree.relid
), sequence AS (
    SELECT s.oid, s.oid::regclass::text AS name, s.relacl, s.relowner
    FROM relation AS r
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
     AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
     AND (r.is_whole OR d.refobjsubid = ANY (r.columns))
    JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
), uses AS (  -- objects that name one of the columns, in expressions too
    SELECT DISTINCT d.classid, d.objid
    FROM relation AS r
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
     AND (r.is_whole OR d.refobjsubid = ANY (r.columns))
), index AS (
    SELECT i.indexrelid AS oid, i.indexrelid::regclass::text AS name, r.name AS table_name,
           regexp_replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') AS definition
    FROM relation AS r
    JOIN pg_index AS i ON i.indrelid = r.oid AND i.indisvalid
    JOIN pg_class AS c ON c.oid = i.indexrelid AND NOT c.relispartition
    WHERE (r.is_whole OR i.indkey::int2[] && r.columns
           OR EXISTS (SELECT FROM uses WHERE uses.classid = 'pg_class'::regclass
                                         AND uses.objid = i.indexrelid))
      AND NOT EXISTS (SELECT FROM pg_constraint AS o WHERE o.conindid = i.indexrelid
                                                       AND o.contype IN ('p', 'u', 'x'))
), "constraint" AS (
    SELECT DISTINCT o.oid, o.conname AS name, o.conrelid::regclass::text AS table_name,
           o.contype AS kind, pg_get_constraintdef(o.oid) AS definition
    FROM relation AS r
    JOIN pg_constraint AS o ON o.conrelid = r.oid AND (r.is_whole OR o.conkey && r.columns)
                            OR o.confrelid = r.oid AND (r.is_whole OR o.confkey && r.columns)
    WHERE o.contype IN ('p', 'u', 'x', 'c', 'f') AND o.conparentid = 0
      AND (o.conislocal OR o.coninhcount = 0)
), trigger AS (
    SELECT t.oid, t.tgname AS name, r.name AS table_name, t.tgenabled AS state,
           pg_get_triggerdef(t.oid) AS definition
    FROM relation AS r
    JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgparentid = 0
    WHERE r.is_whole OR t.tgattr::int2[] && r.columns
       OR EXISTS (SELECT FROM uses WHERE uses.classid = 'pg_trigger'::regclass
                                     AND uses.objid = t.oid)
), comment AS (
    SELECT format('TABLE %s', r.name) AS object, d.description, 'pg_class' AS catalogue,
           format('to_regclass(%L)', r.name) AS found, 0 AS column_number, NULL AS column_name,
           NULL AS table_name
    FROM relation AS r JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass
     AND d.objoid = r.oid AND d.objsubid = 0
    WHERE r.is_whole
    UNION ALL
    SELECT format('COLUMN %s.%I', r.name, a.attname), d.description, 'pg_class',
           format('to_regclass(%L)', r.name), 1, a.attname, r.name
    FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
    JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid
     AND d.objsubid = a.attnum
    WHERE r.is_whole OR a.attnum = ANY (r.columns)
    UNION ALL
    SELECT format('SEQUENCE %s', s.name), d.description, 'pg_class',
           format('to_regclass(%L)', s.name), 0, NULL, NULL
    FROM sequence AS s JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass
     AND d.objoid = s.oid AND d.objsubid = 0
    UNION ALL
    SELECT format('INDEX %s', i.name), d.description, 'pg_class',
           format('to_regclass(%L)', i.name), 0, NULL, NULL
    FROM index AS i JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass
     AND d.objoid = i.oid AND d.objsubid = 0
    UNION ALL
    SELECT format('CONSTRAINT %I ON %s', o.name, o.table_name), d.description, 'pg_constraint',
           format('(SELECT oid FROM pg_constraint WHERE conrelid = to_regclass(%L) '
                  'AND conname = %L)', o.table_name, o.name), 0, NULL, NULL
    FROM "constraint" AS o JOIN pg_description AS d ON d.classoid = 'pg_constraint'::regclass
     AND d.objoid = o.oid
    UNION ALL
    SELECT format('TRIGGER %I ON %s', t.name, t.table_name), d.description, 'pg_trigger',
           format('(SELECT oid FROM pg_trigger WHERE tgrelid = to_regclass(%L) '
                  'AND tgname = %L)', t.table_name, t.name), 0, NULL, NULL
    FROM trigger AS t JOIN pg_description AS d ON d.classoid = 'pg_trigger'::regclass
     AND d.objoid = t.oid
), granted AS (
    SELECT format('TABLE %s', r.name) AS object, '' AS columns, c.relacl AS acl,
           c.relowner AS owner
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    WHERE r.is_whole
    UNION ALL
    SELECT format('TABLE %s', r.name), format(' (%I)', a.attname), a.attacl, c.relowner
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    JOIN pg_attribute AS a ON a.attrelid = r.oid
    WHERE a.attacl IS NOT NULL AND (r.is_whole OR a.attnum = ANY (r.columns))
    UNION ALL
    SELECT format('SEQUENCE %s', s.name), '', s.relacl, s.relowner FROM sequence AS s
), object AS (
    SELECT 1 AS position, 'partition' AS kind, r.name AS name,
           format('CREATE TABLE %s PARTITION OF %s %s%s', r.name, h.inhparent::regclass,
                  pg_get_expr(c.relpartbound, c.oid),
                  ' PARTITION BY ' || pg_get_partkeydef(c.oid)) AS sql,
           format('to_regclass(%L) IS NOT NULL', r.name) AS present, r.level AS within
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    JOIN pg_inherits AS h ON h.inhrelid = c.oid
    WHERE r.level > 0 AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 2, 'options', r.name,
           format('ALTER TABLE %s SET (%s)', r.name, (
               SELECT string_agg(format('%I = %L', o.option_name, o.option_value), ', ')
               FROM pg_options_to_table(c.reloptions) AS o)),
           format('(SELECT reloptions @> %L FROM pg_class WHERE oid = to_regclass(%L))',
                  c.reloptions, r.name), 0
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    WHERE r.is_whole AND c.reloptions IS NOT NULL
    UNION ALL
    SELECT CASE WHEN o.kind IN ('p', 'u') THEN 3 WHEN o.kind = 'f' THEN 5 ELSE 4 END,
           'constraint', o.name,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', o.table_name, o.name, o.definition),
           format('EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(%1$L) '
                  'AND (conname = %2$L OR pg_get_constraintdef(oid) = %3$L))',
                  o.table_name, o.name, o.definition), 0
    FROM "constraint" AS o
    UNION ALL
    SELECT 4, 'index', i.name, i.definition,
           format('to_regclass(%1$L) IS NOT NULL OR EXISTS (SELECT FROM pg_index '
                  'WHERE indrelid = to_regclass(%2$L) AND regexp_replace('
                  'pg_get_indexdef(indexrelid), '' INDEX .*? ON (ONLY )?'', '' INDEX ON '') = %3$L)',
                  i.name, i.table_name,
                  regexp_replace(i.definition, ' INDEX .*? ON ', ' INDEX ON ')), 0
    FROM index AS i
    UNION ALL
    SELECT 5, 'statistics', s.stxname, pg_get_statisticsobjdef(s.oid),
           format('EXISTS (SELECT FROM pg_statistic_ext WHERE stxname = %L '
                  'AND stxnamespace = to_regnamespace(%L))', s.stxname,
                  s.stxnamespace::regnamespace::text), 0
    FROM relation AS r JOIN pg_statistic_ext AS s ON s.stxrelid = r.oid
    WHERE r.is_whole OR s.stxkeys::int2[] && r.columns
    UNION ALL
    SELECT 6, 'rule', w.rulename, pg_get_ruledef(w.oid),
           format('EXISTS (SELECT FROM pg_rewrite WHERE ev_class = to_regclass(%L) '
                  'AND rulename = %L)', r.name, w.rulename), 0
    FROM relation AS r JOIN pg_rewrite AS w ON w.ev_class = r.oid
    WHERE r.is_whole
    UNION ALL
    SELECT 6, 'trigger', t.name, t.definition,
           format('EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%L) '
                  'AND tgname = %L)', t.table_name, t.name), 0
    FROM trigger AS t
    UNION ALL
    SELECT 7, 'trigger', t.name,
           format('ALTER TABLE %s %s TRIGGER %I', t.table_name,
                  CASE t.state WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                               ELSE 'ENABLE ALWAYS' END, t.name),
           format('EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%L) '
                  'AND tgname = %L AND tgenabled = %L)', t.table_name, t.name, t.state), 0
    FROM trigger AS t WHERE t.state <> 'O'
    UNION ALL
    SELECT 7, 'policy', p.polname,
           format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, r.name,
                  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                                WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                  (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                                     ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
                   FROM unnest(p.polroles) AS role),
                  ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                  ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
           format('EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass(%L) '
                  'AND polname = %L)', r.name, p.polname), 0
    FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    WHERE r.is_whole OR EXISTS (SELECT FROM uses WHERE uses.classid = 'pg_policy'::regclass
                                                   AND uses.objid = p.oid)
    UNION ALL
    SELECT 7, 'row security', r.name, format('ALTER TABLE %s %s ROW LEVEL SECURITY', r.name, f.verb),
           format('(SELECT %s FROM pg_class WHERE oid = to_regclass(%L))', f.flag, r.name), 0
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    CROSS JOIN LATERAL (VALUES ('ENABLE', 'relrowsecurity', c.relrowsecurity),
                               ('FORCE', 'relforcerowsecurity', c.relforcerowsecurity))
         AS f (verb, flag, is_on)
    WHERE r.is_whole AND f.is_on
    UNION ALL
    SELECT 7, 'replica identity', r.name,
           format('ALTER TABLE %s REPLICA IDENTITY %s', r.name,
                  CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END),
           format('(SELECT relreplident = %L FROM pg_class WHERE oid = to_regclass(%L))',
                  c.relreplident, r.name), 0
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    WHERE r.is_whole AND c.relreplident IN ('f', 'n')
    UNION ALL
    SELECT 8, 'comment', c.object, format('COMMENT ON %s IS %L', c.object, c.description),
           CASE c.column_number WHEN 0 THEN
               format('%s IS NULL OR obj_description(%s, %L) IS NOT NULL', c.found, c.found,
                      c.catalogue)
           ELSE format('EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%1$L) '
                       'AND attname = %2$L '
                       'AND col_description(attrelid, attnum) IS NOT NULL)',
                       c.table_name, c.column_name) END, 0
    FROM comment AS c
    UNION ALL
    SELECT 9, 'grant', g.object,
           format('GRANT %s%s ON %s TO %s%s', string_agg(x.privilege_type || g.columns, ', '
                  ORDER BY x.privilege_type), '', g.object,
                  CASE x.grantee WHEN 0 THEN 'PUBLIC'
                                 ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
                  CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), 'false', 0
    FROM granted AS g CROSS JOIN LATERAL aclexplode(g.acl) AS x
    WHERE x.grantee <> g.owner
    GROUP BY g.object, g.columns, x.grantee, x.is_grantable
    UNION ALL
    SELECT 10, 'owner', r.name,
           format('ALTER TABLE %s OWNER TO %I', r.name, pg_get_userbyid(c.relowner)),
           format('(SELECT pg_get_userbyid(relowner) = %L FROM pg_class '
                  'WHERE oid = to_regclass(%L))', pg_get_userbyid(c.relowner), r.name), 0
    FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
    WHERE r.is_whole
)
SELECT position, kind, name, sql, present FROM object
ORDER BY position, within, name, sql;

-- name: column_numbers
-- The numbers of a table's columns of these names.
SELECT coalesce(array_agg(attnum ORDER BY attnum), '{}') FROM pg_attribute
WHERE attrelid = :relation AND attname = ANY (CAST(:columns AS text[])) AND NOT attisdropped;
