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
    assert archived.rows == 41
    restored = apply_again(engine, *MAKE_ODD)
    assert checksums(engine, ODD) == before
    assert all(part.is_whole for part in restored.parts)
    assert restored.rows == 41
    execute(engine, f"INSERT INTO {ODD} (exact) VALUES (1)")
    assert rows(engine, f"SELECT max(id) FROM {ODD}") == [(42,)]
