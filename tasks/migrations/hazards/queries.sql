-- name: server_major
-- Which major version the server is.
SELECT current_setting('server_version_num')::integer / 10000;

-- name: is_fresh
-- True if nobody has a table here yet.
SELECT NOT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relname <> :version_table
        AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'headway', 'headway_archive')
);

-- name: tables_named
-- Size (0 bytes: no rows), estimated rows and primary key of the tables that a plan names.
SELECT asked.name AS asked,
    CASE
        WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(pg_relation_size(relid)), 0) FROM pg_partition_tree(c.oid))
        WHEN NOT c.relhassubclass THEN pg_relation_size(c.oid)
    END::bigint AS size_bytes,
    CASE WHEN c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS estimated_rows,
    (SELECT conname FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p') AS primary_key
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_class AS c ON c.oid = to_regclass(asked.name)
WHERE c.relkind IN ('r', 'p');

-- name: columns_named
-- Columns of the tables that a plan names; proven: by a validated CHECK (c IS NOT NULL).
SELECT asked.name AS asked, a.attname AS column_name,
    format_type(a.atttypid, a.atttypmod) AS type,
    NOT a.attnotnull AS is_nullable,
    EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.convalidated
            AND k.conkey = ARRAY[a.attnum]
            AND pg_get_constraintdef(k.oid) = format('CHECK ((%I IS NOT NULL))', a.attname)
    ) AS is_proven_not_null
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_attribute AS a ON a.attrelid = to_regclass(asked.name)
WHERE a.attnum > 0 AND NOT a.attisdropped;

-- name: dependents_named
-- What would make a DROP of the tables or their columns fail: views, policies, functions, keys.
SELECT DISTINCT asked.name AS asked,
    (SELECT attname FROM pg_attribute
        WHERE attrelid = d.refobjid AND attnum = d.refobjsubid AND d.refobjsubid > 0) AS column_name,
    CASE
        WHEN v.relkind = 'm' THEN 'materialized view'
        WHEN v.oid IS NOT NULL THEN 'view'
        WHEN k.oid IS NOT NULL THEN 'foreign key'
        WHEN p.oid IS NOT NULL THEN 'policy'
        ELSE 'function'
    END AS kind,
    coalesce(
        v.oid::regclass::text,
        k.conrelid::regclass::text || '.' || quote_ident(k.conname),
        p.polrelid::regclass::text || '.' || quote_ident(p.polname),
        f.oid::regprocedure::text
    ) AS name
FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass
    AND d.refobjid = to_regclass(asked.name) AND d.deptype = 'n'
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class AS v ON v.oid = r.ev_class AND v.oid <> d.refobjid
LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
    AND k.contype = 'f' AND k.conrelid <> d.refobjid
LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
LEFT JOIN pg_proc AS f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid
WHERE coalesce(v.oid, k.oid, p.oid, f.oid) IS NOT NULL
ORDER BY asked, kind, name;

-- name: enums
-- The values of every enum, in their order.
SELECT format_type(e.enumtypid, NULL) AS name,
    array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
FROM pg_enum AS e
GROUP BY e.enumtypid;

-- name: place_of_column
-- The table of a column, as it is quoted, if both exist.
SELECT a.attrelid::regclass::text AS place, quote_ident(a.attname) AS column_name
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(:table) AND a.attname = :column
    AND a.attnum > 0 AND NOT a.attisdropped;

-- name: columns_of_enum
-- The columns whose values are of an enum.
SELECT a.attrelid::regclass::text AS place, quote_ident(a.attname) AS column_name
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.atttypid = to_regtype(:enum) AND NOT a.attisdropped AND c.relkind IN ('r', 'm')
ORDER BY place, column_name;

-- name: look_at_most
-- A look at rows ends after this time; the setting ends with the transaction.
SELECT set_config('statement_timeout', :ms, true);
