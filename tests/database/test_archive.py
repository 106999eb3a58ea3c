"""What a downgrade takes away comes back with the upgrade, bit by bit."""

from __future__ import annotations

from sqlalchemy import Engine

from tasks.migrations.archive import Effect
from tests.database.archives import apply_again, checksums, execute, roll_back, rows

TABLE = ("public", "odd Table%:x")
ODD = '"odd Table%:x"'
MAKE_ODD = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s fine')",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (x double precision, at timestamptz)",
    f"""CREATE TABLE {ODD} (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        "a ""b" text, exact numeric, near double precision, raw bytea, at timestamptz,
        span interval, doc json, docb jsonb, tags text[], moods mood[], mood mood,
        amount positive, pair pair, net inet, period tstzrange, place point, bits varbit,
        fixed char(5), money_ money, doubled numeric GENERATED ALWAYS AS (exact * 2) STORED)""",
)
VALUES = """"a ""b", exact, near, raw, at, span, doc, docb, tags, moods, mood,
    amount, pair, net, period, place, bits, fixed, money_"""
FILL_ODD = (
    f"""INSERT INTO {ODD} ({VALUES})
    SELECT repeat('é%', n * 700), 1.10 * n, 0.1 + n / 3.0, decode('00ff', 'hex'),
        '2026-01-01 00:00:00.123456+13', '1 mon -3 days 00:00:00.5', '{{"b":1, "a":  2}}',
        '{{"a": 1}}', ARRAY['x,y', NULL, '"'], ARRAY['it''s fine', 'sad']::mood[], 'it''s fine',
        n, ROW(1e-300 * n, '1999-12-31 23:59:59+00')::pair, '10.0.0.1/24',
        '[2026-01-01, 2026-02-01)', '(0.1,-0)', B'10101', 'ab', 12.34
    FROM generate_series(1, 40) AS n""",
    f"""INSERT INTO {ODD} ({VALUES})
    VALUES (NULL, 'NaN', '-Infinity', '', 'infinity', NULL, 'null', 'null', '{{}}', '{{}}',
        NULL, NULL, NULL, '::1', 'empty', NULL, B'', '', NULL)""",
)


def test_a_dropped_table_comes_back_bit_by_bit(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    execute(engine, *MAKE_ODD, *FILL_ODD, f"DELETE FROM {ODD} WHERE id = 7")
    before = checksums(engine, ODD)
    drop = [f"DROP TABLE {ODD}", "DROP TYPE mood", "DROP TYPE pair", "DROP DOMAIN positive"]
    archived = roll_back(engine, Effect(dropped_tables=(TABLE,)), *drop)
    assert archived.rows == 40
    restored = apply_again(engine, *MAKE_ODD)
    assert checksums(engine, ODD) == before
    assert all(part.is_whole for part in restored.parts)
    assert restored.rows == 40
    execute(engine, f"INSERT INTO {ODD} (exact) VALUES (1)")
    assert rows(engine, f"SELECT max(id) FROM {ODD}") == [(42,)]


def test_a_table_comes_back_with_all_that_hangs_on_it(bootstrapped_database: Engine) -> None:
    engine = bootstrapped_database
    made = (
        (
            "CREATE TABLE node (id serial PRIMARY KEY, parent_id int REFERENCES node, "
            "leader_id int, note text DEFAULT 'new')"
        ),
        "CREATE TABLE leader (id int PRIMARY KEY, node_id int NOT NULL REFERENCES node)",
        "ALTER TABLE node ADD FOREIGN KEY (leader_id) REFERENCES leader",
    )
    execute(
        engine,
        *made,
        "INSERT INTO node (id, parent_id) SELECT n, 301 - n FROM generate_series(1, 300) AS n",
        "INSERT INTO leader SELECT n, n FROM generate_series(1, 300) AS n",
        "UPDATE node SET leader_id = 301 - id",
        "SELECT setval('node_id_seq', 900)",
        "CREATE ROLE clerk NOLOGIN",
        "GRANT SELECT ON node TO clerk WITH GRANT OPTION",
        "GRANT UPDATE (note) ON node TO PUBLIC",
        "GRANT USAGE ON SEQUENCE node_id_seq TO clerk",
        "COMMENT ON TABLE node IS 'it''s a tree'",
        "COMMENT ON COLUMN node.note IS 'free: text %s'",
        "CREATE INDEX by_hand ON node (lower(note)) WHERE id > 3",
        "COMMENT ON INDEX by_hand IS 'mine'",
        "ALTER TABLE node ADD CONSTRAINT short CHECK (length(note) < 99)",
        "CREATE STATISTICS together ON parent_id, leader_id FROM node",
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.note = upper(NEW.note); RETURN NEW; END'",
        "CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON node FOR EACH ROW EXECUTE FUNCTION shout()",
        "ALTER TABLE node DISABLE TRIGGER loud",
        "ALTER TABLE node ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY only_even ON node FOR SELECT TO clerk USING (id % 2 = 0)",
    )
    before = checksums(engine, "node"), checksums(engine, "leader"), look(engine)
    effect = Effect(dropped_tables=(("public", "node"), ("public", "leader")))
    roll_back(
        engine,
        effect,
        "ALTER TABLE node DROP CONSTRAINT node_leader_id_fkey",
        "DROP TABLE leader, node",
    )
    restored = apply_again(engine, *made)
    assert [part for part in restored.parts if not part.is_whole] == []
    assert (checksums(engine, "node"), checksums(engine, "leader"), look(engine)) == before
    execute(engine, "REASSIGN OWNED BY clerk TO CURRENT_USER", "DROP OWNED BY clerk")
    execute(engine, "DROP ROLE clerk")


def look(engine: Engine) -> list[tuple[object, ...]]:
    """What hangs on the two tables, as the catalogue says it."""
    return rows(
        engine,
        """
        SELECT 'table', c.relname, obj_description(c.oid), c.relacl::text, c.relrowsecurity::text
        FROM pg_class AS c WHERE relname IN ('node', 'leader', 'node_id_seq', 'by_hand')
        UNION ALL SELECT 'column', attname, col_description(attrelid, attnum), attacl::text, ''
        FROM pg_attribute WHERE attrelid = 'node'::regclass AND attnum > 0
        UNION ALL SELECT 'index', indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), '', ''
        FROM pg_constraint WHERE conrelid IN ('node'::regclass, 'leader'::regclass)
        UNION ALL SELECT 'trigger', pg_get_triggerdef(oid), tgenabled::text, '', ''
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'policy', policyname, roles::text, cmd, qual FROM pg_policies
        UNION ALL SELECT 'statistics', pg_get_statisticsobjdef(oid), '', '', ''
        FROM pg_statistic_ext
        UNION ALL SELECT 'sequence', last_value::text, is_called::text, '', '' FROM node_id_seq
        ORDER BY 1, 2, 3
        """,
    )
