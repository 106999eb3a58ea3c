-- name: session_facts
-- Who is asking, may this session write at all, and may it write the history?
SELECT current_user AS role, pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only')::boolean AS is_read_only,
    CASE
        WHEN to_regnamespace('headway') IS NULL
            THEN has_database_privilege(current_database(), 'CREATE')
        WHEN NOT has_schema_privilege('headway', 'USAGE') THEN false
        WHEN to_regclass('headway.migration_run') IS NULL
            THEN has_schema_privilege('headway', 'CREATE')
        ELSE has_table_privilege(to_regclass('headway.migration_run'), 'INSERT')
    END AS has_history;

-- name: schemas_closed
-- Of these schemas, those whose objects the role may not even name.
SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner
FROM pg_namespace AS n
WHERE n.nspname = ANY (CAST(:names AS text[])) AND NOT has_schema_privilege(n.oid, 'USAGE');

-- name: missing_rights
-- Of what the role needs, what it lacks, and who has it. What is not there yet is left out.
-- CASE: before Postgres 16 a name of another kind would be an error, in whatever order it is read.
WITH asked AS (
    SELECT *,
        CASE WHEN kind IN ('relation', 'privilege') THEN name END AS relation,
        CASE WHEN kind = 'type' THEN name END AS type_name,
        CASE WHEN kind IN ('schema', 'database') THEN name END AS schema_name
    FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[]), CAST(:rights AS text[]))
        WITH ORDINALITY AS a (kind, name, needed, n)
), found AS (
    SELECT a.n, c.relowner AS owner, pg_has_role(c.relowner, 'USAGE')
        OR (a.needed = 'DROP' AND pg_has_role(s.nspowner, 'USAGE')) AS may
    FROM asked AS a
    JOIN pg_class AS c ON c.oid = to_regclass(a.relation)
    JOIN pg_namespace AS s ON s.oid = c.relnamespace
    WHERE a.kind = 'relation'
    UNION ALL
    SELECT a.n, t.typowner, pg_has_role(t.typowner, 'USAGE')
        OR (a.needed = 'DROP' AND pg_has_role(s.nspowner, 'USAGE'))
    FROM asked AS a
    JOIN pg_type AS t ON t.oid = to_regtype(a.type_name)
    JOIN pg_namespace AS s ON s.oid = t.typnamespace
    WHERE a.kind = 'type'
    UNION ALL
    SELECT a.n, s.nspowner, pg_has_role(s.nspowner, 'USAGE')
    FROM asked AS a JOIN pg_namespace AS s ON s.oid = to_regnamespace(a.schema_name)
    WHERE a.kind = 'schema'
    UNION ALL
    SELECT a.n, s.nspowner, has_schema_privilege(s.oid, 'CREATE')
    FROM asked AS a
    JOIN pg_namespace AS s ON s.nspname = coalesce(nullif(a.name, ''), current_schema())
    WHERE a.kind = 'create'
    UNION ALL
    SELECT a.n, d.datdba, to_regnamespace(a.schema_name) IS NOT NULL
        OR has_database_privilege(d.oid, 'CREATE')
    FROM asked AS a JOIN pg_database AS d ON d.datname = current_database()
    WHERE a.kind = 'database'
    UNION ALL
    SELECT a.n, c.relowner, CASE
            WHEN a.needed IN ('INSERT', 'UPDATE', 'REFERENCES')
                THEN has_any_column_privilege(c.oid, a.needed)
            ELSE has_table_privilege(c.oid, a.needed)
        END
    FROM asked AS a JOIN pg_class AS c ON c.oid = to_regclass(a.relation)
    WHERE a.kind = 'privilege'
)
SELECT n::integer - 1 AS place, pg_get_userbyid(owner) AS owner
FROM found
WHERE NOT may
ORDER BY n;

-- name: has_table
-- Is there such a table in the schema (none: the default one)?
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = :table AND n.nspname = coalesce(:schema, current_schema())
);

-- name: default_schema
-- Where what has no schema in its name is created.
SELECT current_schema();

-- name: extensions
-- Are these extensions on the server, and may this role create them (or are they there already)?
-- Hosted servers let their administrators create what elsewhere only a superuser may: not known.
SELECT asked.name,
    a.name IS NOT NULL AS is_available,
    CASE
        WHEN a.installed_version IS NOT NULL OR u.rolsuper THEN true
        WHEN has_database_privilege(current_database(), 'CREATE') AND EXISTS (
            SELECT FROM pg_available_extension_versions AS v
            WHERE v.name = asked.name AND v.version = a.default_version
                AND (v.trusted OR NOT v.superuser)
        ) THEN true
        WHEN EXISTS (
            SELECT FROM pg_roles AS r
            WHERE r.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser',
                    'azure_pg_admin', 'neon_superuser')
                AND pg_has_role(r.oid, 'MEMBER')
        ) THEN NULL
        ELSE false
    END AS may_create
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_roles AS u ON u.rolname = current_user
LEFT JOIN pg_available_extensions AS a ON a.name = asked.name
ORDER BY asked.name;

-- name: primary_key
-- The columns of a table's primary key, quoted.
SELECT quote_ident(a.attname)
FROM pg_constraint AS o
CROSS JOIN unnest(o.conkey) WITH ORDINALITY AS k (num, n)
JOIN pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.num
WHERE o.conrelid = to_regclass(:table) AND o.contype = 'p'
ORDER BY k.n;

-- name: constraint_of_table
-- What a constraint demands.
SELECT o.contype, o.convalidated AS is_valid, o.confmatchtype = 'f' AS is_full,
    o.confrelid::regclass::text AS other_table,
    regexp_replace(pg_get_constraintdef(o.oid), '^CHECK \((.*)\)( NO INHERIT)?( NOT VALID)?$', '\1')
        AS expression,
    (SELECT array_agg(quote_ident(a.attname) ORDER BY k.n)
     FROM unnest(o.conkey) WITH ORDINALITY AS k (num, n)
     JOIN pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.num) AS columns,
    (SELECT array_agg(quote_ident(a.attname) ORDER BY k.n)
     FROM unnest(o.confkey) WITH ORDINALITY AS k (num, n)
     JOIN pg_attribute AS a ON a.attrelid = o.confrelid AND a.attnum = k.num) AS other_columns
FROM pg_constraint AS o
WHERE o.conrelid = to_regclass(:table) AND o.conname = :name;

-- name: type_of_column
-- The type that a column has.
SELECT format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(:table) AND a.attname = :column AND NOT a.attisdropped;

-- name: is_required
-- True if a column is NOT NULL already: then no row needs to be looked at.
SELECT a.attnotnull
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(:table) AND a.attname = :column AND NOT a.attisdropped;

-- name: is_enum
-- True if the values of a column are of an enum.
SELECT t.typtype = 'e'
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(:table) AND a.attname = :column AND NOT a.attisdropped;

-- name: kind_of_type
-- The type below a domain, and its category (`S`: a kind of text).
SELECT format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS name,
    t.typcategory AS category
FROM pg_type AS t
WHERE t.oid = to_regtype(:name);

-- name: labels_of_type
-- The values of an enum, as SQL.
SELECT quote_literal(e.enumlabel)
FROM pg_enum AS e
WHERE e.enumtypid = to_regtype(:name)
ORDER BY e.enumsortorder;

-- name: first_column
-- The first column of a table, quoted.
SELECT quote_ident(a.attname)
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
LIMIT 1;

-- name: reach_further
-- Of these tables, those whose changes may change others: by a trigger, a rule, a foreign key.
SELECT asked.name
FROM unnest(CAST(:names AS text[])) AS asked (name)
WHERE EXISTS (
    SELECT FROM pg_trigger AS t WHERE t.tgrelid = to_regclass(asked.name) AND NOT t.tgisinternal
) OR EXISTS (
    SELECT FROM pg_rewrite AS r WHERE r.ev_class = to_regclass(asked.name) AND r.rulename <> '_RETURN'
) OR EXISTS (
    SELECT FROM pg_constraint AS k
    WHERE k.confrelid = to_regclass(asked.name)
        AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
);

-- name: look_at_most
-- A look at rows ends after this time and waits two seconds for locks; until the transaction ends.
SELECT set_config('statement_timeout', :milliseconds, true),
    set_config('lock_timeout', '2s', true), set_config('row_security', 'off', true);
