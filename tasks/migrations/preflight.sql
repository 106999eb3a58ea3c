-- name: session_facts
-- Who is asking, and may this session write at all?
SELECT current_user AS role, current_schema() AS default_schema,
    pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only')::boolean AS is_read_only,
    to_regclass('headway.migration_run') IS NOT NULL
        OR has_database_privilege(current_database(), 'CREATE') AS has_history;

-- name: not_owned
-- Of these tables, those that only somebody else may change.
SELECT asked.name, pg_get_userbyid(c.relowner) AS owner
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_class AS c ON c.oid = to_regclass(asked.name)
WHERE NOT pg_has_role(c.relowner, 'USAGE');

-- name: no_create_in
-- Of these schemas, those in which nothing may be created.
SELECT n.nspname
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_namespace AS n ON n.nspname = asked.name
WHERE NOT has_schema_privilege(n.oid, 'CREATE');

-- name: extensions
-- Are these extensions on the server, and may this role create them (or are they there already)?
SELECT asked.name,
    a.name IS NOT NULL AS is_available,
    coalesce(a.installed_version IS NOT NULL OR u.rolsuper
        OR (has_database_privilege(current_database(), 'CREATE') AND EXISTS (
            SELECT FROM pg_available_extension_versions AS v
            WHERE v.name = asked.name AND v.version = a.default_version AND v.trusted)),
        false) AS may_create
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
