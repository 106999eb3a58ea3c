-- name: swap_settings
-- Set these until the transaction ends; what they were before, nothing for what was not set.
WITH asked AS MATERIALIZED (
    SELECT key AS name, value, current_setting(key, true) AS before
    FROM jsonb_each_text(CAST(:settings AS jsonb))
)
SELECT name, before, set_config(name, value, true) FROM asked;

-- name: tables
-- Tables that hold rows, with their columns and with what identifies a row.
SELECT c.oid::bigint AS oid, n.nspname AS schema_name, c.relname AS name,
       c.relkind = 'p' AS is_partitioned,
       NOT EXISTS (
           SELECT FROM (SELECT c.oid AS relid UNION ALL
                        SELECT tree.relid FROM pg_partition_tree(c.oid) AS tree) AS part
           JOIN pg_class AS leaf ON leaf.oid = part.relid
           LEFT JOIN pg_am AS am ON am.oid = leaf.relam
           WHERE leaf.relkind <> 'p' AND am.amname IS DISTINCT FROM 'heap') AS has_versions,
       row_security_active(c.oid) AS hides_rows,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(np.nspname, p.relname)), '[]')
        FROM pg_partition_ancestors(c.oid) AS a
        JOIN pg_class AS p ON p.oid = a.relid
        JOIN pg_namespace AS np ON np.oid = p.relnamespace
        WHERE a.relid <> c.oid) AS ancestors,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                   'is_native', t.oid < 16384 AND t.typtype IN ('b', 'r', 'm')
                                AND (a.attcollation = 0 OR a.attcollation < 16384),
                   'is_generated', a.attgenerated <> '') ORDER BY a.attnum), '[]')
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT coalesce(jsonb_agg(k.names ORDER BY k.is_primary DESC, k.oid), '[]')
        FROM (SELECT i.indexrelid AS oid, i.indisprimary AS is_primary,
                     jsonb_agg(a.attname ORDER BY part.position) AS names
              FROM pg_index AS i
              CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS part (number, position)
              JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = part.number
              WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
                AND i.indpred IS NULL AND i.indexprs IS NULL AND part.position <= i.indnkeyatts
              GROUP BY i.indexrelid, i.indisprimary
              HAVING bool_and(a.attnotnull AND a.attgenerated = '')) AS k) AS keys
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS wanted (schema_name, name)
  ON wanted.schema_name = n.nspname AND wanted.name = c.relname
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't';

-- name: tables_of_schemas
-- Every table of the schemas (none given: all that users made) that is not a partition.
SELECT n.nspname AS schema_name, c.relname AS name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
  AND n.nspname !~ '^pg_'
  AND n.nspname <> ALL (ARRAY['information_schema', 'headway', 'headway_archive'])
  AND (CAST(:schemas AS text[]) IS NULL OR n.nspname = ANY (CAST(:schemas AS text[])))
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2;

-- name: enum_columns
-- Columns whose type is one of the enums, an array of it, or a domain over either.
WITH RECURSIVE of_type (enum_schema, enum_name, oid, is_array) AS (
    SELECT n.nspname, t.typname, t.oid, false
    FROM pg_type AS t
    JOIN pg_namespace AS n ON n.oid = t.typnamespace
    JOIN unnest(CAST(:schemas AS text[]), CAST(:names AS text[])) AS wanted (schema_name, name)
      ON wanted.schema_name = n.nspname AND wanted.name = t.typname
    WHERE t.typtype = 'e'
    UNION
    SELECT of_type.enum_schema, of_type.enum_name, t.oid, of_type.is_array OR t.typelem <> 0
    FROM of_type
    JOIN pg_type AS t ON t.typelem = of_type.oid AND t.typcategory = 'A'
                      OR t.typbasetype = of_type.oid AND t.typtype = 'd'
)
SELECT of_type.enum_schema, of_type.enum_name, of_type.is_array,
       n.nspname AS schema_name, c.relname AS table_name, a.attname AS column_name,
       c.relkind = 'p' AS is_partitioned, format_type(a.atttypid, a.atttypmod) AS type
FROM of_type
JOIN pg_attribute AS a ON a.atttypid = of_type.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
  AND a.attgenerated = '' AND n.nspname <> 'headway_archive'
ORDER BY n.nspname, c.relname, a.attnum;

-- name: add_entry
-- Announce what is going to be archived.
INSERT INTO headway.archive
    (environment, revision, kind, schema_name, table_name, column_names, key_columns, document,
     run_id)
VALUES (:environment, :revision, :kind, :schema_name, :table_name, :column_names, :key_columns,
        CAST(:document AS jsonb), CAST(:run_id AS uuid))
RETURNING id;

-- name: place_entry
-- Where the copy lies, how many rows it has, and what had been committed when it was made.
UPDATE headway.archive
SET archived_in = :archived_in, row_count = :rows,
    document = document || jsonb_build_object('snapshot', CAST(:snapshot AS text))
WHERE id = :id;

-- name: extend_entry
-- Note more about what was archived.
UPDATE headway.archive SET document = document || CAST(:document AS jsonb) WHERE id = :id;

-- name: complete_entry
-- What was archived is complete.
UPDATE headway.archive
SET is_complete = true, row_count = :rows, checksum = :checksum,
    document = document || jsonb_build_object('before_ddl', CAST(:before_ddl AS boolean))
WHERE id = :id;

-- name: forget_entry
-- Nothing was lost there after all.
DELETE FROM headway.archive WHERE id = :id AND restored_at IS NULL;

-- name: entries_of_run
-- Copies that this run has made, and not completed.
SELECT id, document, archived_in, row_count, checksum FROM headway.archive
WHERE environment = :environment AND revision = :revision
  AND run_id IS NOT DISTINCT FROM CAST(:run_id AS uuid)
  AND NOT is_complete AND archived_in IS NOT NULL
ORDER BY id;

-- name: complete_entries_of_run
-- Copies that this run has made and completed.
SELECT id, document, archived_in, row_count, checksum FROM headway.archive
WHERE environment = :environment AND revision = :revision
  AND run_id IS NOT DISTINCT FROM CAST(:run_id AS uuid)
  AND is_complete AND archived_in IS NOT NULL
ORDER BY id;

-- name: left_behind
-- Copies that runs before this one have begun, and not completed.
SELECT id, archived_in FROM headway.archive
WHERE environment = :environment AND NOT is_complete
  AND run_id IS DISTINCT FROM CAST(:run_id AS uuid);

-- name: entries
-- Some entries.
SELECT id, kind, document, archived_in, row_count, checksum FROM headway.archive
WHERE id = ANY (CAST(:ids AS bigint[])) ORDER BY id;

-- name: entries_to_restore
-- What the last rollback of the revision archived of each thing, and has not come back.
SELECT id, kind, document, archived_in, row_count, checksum FROM (
    SELECT DISTINCT ON (kind, schema_name, table_name, column_names)
           id, kind, document, archived_in, row_count, checksum, restored_at
    FROM headway.archive
    WHERE environment = :environment AND revision = :revision AND is_complete
      AND archived_in IS NOT NULL OR environment = :environment AND revision = :revision
      AND is_complete AND kind = 'sequence'
    ORDER BY kind, schema_name, table_name, column_names, id DESC) AS newest
WHERE restored_at IS NULL
ORDER BY id;

-- name: mark_restored
-- It came back, as far as it did.
UPDATE headway.archive
SET restored_at = clock_timestamp(), restored = CAST(:restored AS jsonb)
WHERE id = :id;

-- name: entries_to_purge
-- Archives of which every row came back, long enough ago.
SELECT id, archived_in FROM headway.archive
WHERE archived_in IS NOT NULL AND restored ->> 'left' = '0'
  AND restored_at < clock_timestamp() - CAST(:older_than AS interval)
ORDER BY id;

-- name: mark_purged
-- Its rows are gone for good.
UPDATE headway.archive
SET archived_in = NULL,
    document = document || jsonb_build_object('purged_from', archived_in)
WHERE id = :id;

-- name: snapshot
-- Below which number every transaction had ended, and whether one of that age can still be told.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS oldest_running;

-- name: transactions_since
-- How many transactions have begun since the one with this number.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - CAST(:number AS bigint);

-- name: owned_sequences
-- Sequences that go with these tables (no column given) or columns, and those named.
SELECT n.nspname AS schema_name, s.relname AS name, tn.nspname AS table_schema,
       t.relname AS table_name, a.attname AS column_name
FROM pg_class AS s
JOIN pg_namespace AS n ON n.oid = s.relnamespace
LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_class AS t ON t.oid = d.refobjid
LEFT JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S'
  AND (EXISTS (SELECT FROM unnest(CAST(:schemas AS text[]), CAST(:tables AS text[]),
                                  CAST(:columns AS text[])) AS w (schema_name, name, column_name)
               WHERE w.schema_name = tn.nspname AND w.name = t.relname
                 AND (w.column_name IS NULL OR w.column_name = a.attname))
       OR EXISTS (SELECT FROM unnest(CAST(:sequence_schemas AS text[]), CAST(:sequences AS text[]))
                       AS w (schema_name, name)
                  WHERE w.schema_name = n.nspname AND w.name = s.relname))
ORDER BY 1, 2;

-- name: sequence_of
-- The sequence of a column as it is now, or else the sequence of that name.
SELECT coalesce(
    (SELECT pg_get_serial_sequence(format('%I.%I', CAST(:table_schema AS text),
                                          CAST(:table_name AS text)), a.attname)
     FROM pg_attribute AS a
     WHERE a.attrelid = to_regclass(format('%I.%I', CAST(:table_schema AS text),
                                           CAST(:table_name AS text)))
       AND a.attname = CAST(:column_name AS text) AND NOT a.attisdropped),
    to_regclass(format('%I.%I', CAST(:schema_name AS text), CAST(:name AS text)))::text) AS name;

-- name: sequence_increment
-- Whether a sequence counts up or down.
SELECT seqincrement FROM pg_sequence WHERE seqrelid = to_regclass(:name);

-- name: set_sequence
-- Go on where the archived sequence was.
SELECT setval(to_regclass(:name), :last_value, :is_called);

-- name: active_triggers
-- Triggers that users made and that fire, with the state that they have.
SELECT tgname AS name, tgenabled AS state FROM pg_trigger
WHERE tgrelid = :relation AND NOT tgisinternal AND tgenabled <> 'D'
ORDER BY tgname;

-- name: active_rules
-- Rules of a table that apply, with the state that they have.
SELECT rulename AS name, ev_enabled AS state FROM pg_rewrite
WHERE ev_class = :relation AND ev_enabled <> 'D' ORDER BY rulename;

-- name: forces_row_security
-- Whether a table's policies apply to its owner too, and hide rows from us.
SELECT relforcerowsecurity AND row_security_active(oid) FROM pg_class WHERE oid = :relation;

-- name: identity_columns
-- Columns that take no value but the one that Postgres gives.
SELECT attname FROM pg_attribute
WHERE attrelid = :relation AND attidentity = 'a' AND NOT attisdropped;

-- name: relation
-- The oid of a table, by its quoted name.
SELECT to_regclass(:name)::oid::bigint;

-- name: with_partitions
-- A table and, if it is partitioned, everything that it is made of.
SELECT c.oid::bigint AS oid, n.nspname AS schema_name, c.relname AS name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(:name)
   OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(:name)))
ORDER BY c.oid;

-- name: own_transaction
-- The number of this transaction, as rows that it wrote show it.
SELECT mod(pg_current_xact_id()::text::numeric, 4294967296)::text;

-- name: make_each
-- Runs a statement for each listed row, and goes on after one that a constraint forbids.
CREATE OR REPLACE FUNCTION pg_temp.headway_each(listing text, statement text)
RETURNS TABLE (place text, problem text)
LANGUAGE plpgsql AS $$
DECLARE
    one tid;
    broken text;
BEGIN
    FOR one IN EXECUTE listing LOOP
        BEGIN
            EXECUTE statement USING one;
        EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
            GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
            place = one::text;
            problem = coalesce(nullif(broken, ''), SQLSTATE);
            RETURN NEXT;
        END;
    END LOOP;
END $$;

-- name: try_each
-- Which rows a statement failed for, and what forbade it.
SELECT place, problem FROM pg_temp.headway_each(:listing, :statement);

-- name: unique_over
-- Unique indexes over any of the columns, with the constraints that own them.
SELECT coalesce(o.conname, ic.relname) AS name, o.oid IS NOT NULL AS is_constraint,
       CASE WHEN o.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
            ELSE pg_get_constraintdef(o.oid) END AS definition
FROM pg_index AS i
JOIN pg_class AS ic ON ic.oid = i.indexrelid
LEFT JOIN pg_constraint AS o ON o.conindid = i.indexrelid AND o.conrelid = i.indrelid
     AND o.contype IN ('p', 'u', 'x')
WHERE i.indrelid = to_regclass(:name) AND (i.indisunique OR i.indisexclusion)
  AND EXISTS (SELECT FROM pg_attribute AS a
              WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                AND a.attname = ANY (CAST(:columns AS text[])))
ORDER BY i.indexrelid;

-- name: default_schema
-- Where a table without a schema is.
SELECT current_schema();

-- name: numbered_columns
-- Those of the columns that a sequence numbers.
SELECT a.attname FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(:name) AND a.attname = ANY (CAST(:columns AS text[]))
  AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\(');

-- name: entry_of_sequence
-- Where a sequence stood.
SELECT document FROM headway.archive WHERE id = :id AND kind = 'sequence';
