"""Whatever the table, whatever is written meanwhile: what was dropped comes back as it was."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tasks.migrations.archive import Effect
from tasks.migrations.archive.sql import literal, quoted
from tests.database.archives import apply_again, checksums, execute, roll_back

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
NUMBERS = st.integers(-(2**31), 2**31 - 1).map(str)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "integer": NUMBERS,
    "text": TEXTS,
    "numeric": st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.just("NaN"),
    "double precision": st.floats().map(str),
    "bytea": st.binary(max_size=8).map(lambda value: "\\x" + value.hex()),
    "timestamptz": st.datetimes().map(str),
    "jsonb": NUMBERS,
    "integer[]": st.lists(NUMBERS, max_size=3).map(lambda each: "{" + ",".join(each) + "}"),
    "mood": st.sampled_from(["sad", "it's fine"]),
    "mood[]": st.sampled_from(["{}", "{sad}", '{sad,NULL,"it\'s fine"}']),
    "small": st.integers(1, 9).map(str),
}
TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s fine')",
    "CREATE DOMAIN small AS int CHECK (VALUE > 0)",
)
KEYS = st.sampled_from(["PRIMARY KEY (k)", "UNIQUE (k)", "PRIMARY KEY (j, k)", None])
WRITES = st.sampled_from(
    [
        (
            "INSERT INTO {t} ({all}) SELECT {others}, {t}.k + top.k + 1, j, up FROM {t}, "
            "(SELECT max(k) - min(k) AS k FROM {t}) AS top"
        ),
        "UPDATE {t} SET j = j + 1, {first} = NULL WHERE k % 3 = 0",
        "UPDATE {t} SET k = k + 100000",
        "DELETE FROM {t} WHERE k % 2 = 0 AND NOT EXISTS (SELECT FROM {t} AS c WHERE c.up = {t}.k)",
    ]
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    names = draw(
        st.lists(NAMES, min_size=len(types), max_size=len(types), unique=True).filter(
            lambda each: not {"k", "j", "up", "twice"} & set(each)
        )
    )
    row = st.tuples(*(st.none() | VALUES[each] for each in types))
    return {
        "columns": list(zip(names, types, strict=True)),
        "key": draw(KEYS),
        "is_linked": draw(st.booleans()),
        "rows": draw(st.lists(row, max_size=8)),
        "dropped": draw(st.sampled_from(["table", "columns"])),
        "writes": draw(st.none() | st.lists(WRITES, max_size=3)),
    }


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(table=tables())
def test_what_was_dropped_comes_back(bootstrapped_database: Engine, table: dict[str, Any]) -> None:
    engine, name = bootstrapped_database, 'odd "t%'
    t = quoted(name)
    columns = [f"{quoted(column)} {kind}" for column, kind in table["columns"]]
    fixed = [
        "k int NOT NULL",
        "j int NOT NULL",
        "up int",
        "twice int GENERATED ALWAYS AS (k * 2) STORED",
    ]
    if table["key"]:
        fixed.append(table["key"])
    if table["is_linked"] and table["key"] == "PRIMARY KEY (k)":
        fixed.append(f"FOREIGN KEY (up) REFERENCES {t} ON UPDATE CASCADE")
    execute(
        engine,
        f"DROP TABLE IF EXISTS {t}",
        "DROP TYPE IF EXISTS mood CASCADE",
        "DROP DOMAIN IF EXISTS small CASCADE",
        "DELETE FROM headway.archive",
    )
    make = (*TYPES, f"CREATE TABLE {t} ({', '.join([*columns, *fixed])})")
    execute(engine, *make)
    listed = ", ".join(quoted(column) for column, _ in table["columns"])
    for number, row in enumerate(table["rows"]):
        values = ", ".join("NULL" if each is None else literal(each) for each in row)
        up = number - 1 if number else "NULL"
        execute(
            engine, f"INSERT INTO {t} ({listed}, k, j, up) VALUES ({values}, {number}, 0, {up})"
        )

    def write() -> None:
        for statement in table["writes"]:
            execute(
                engine,
                statement.replace("{all}", f"{listed}, k, j, up")
                .replace("{others}", listed)
                .replace("{first}", quoted(table["columns"][0][0]))
                .replace("{t}", t),
            )

    between = None if table["writes"] is None else write
    if table["dropped"] == "table":
        effect = Effect(dropped_tables=(("public", name),))
        drop = [f"DROP TABLE {t}", "DROP DOMAIN small", "DROP TYPE mood"]
        again = [*make]
    else:
        effect = Effect(
            dropped_columns=tuple(("public", name, each) for each, _ in table["columns"])
        )
        drop = [f"ALTER TABLE {t} DROP {quoted(each)}" for each, _ in table["columns"]]
        again = [f"ALTER TABLE {t} ADD {column}" for column in columns]
    before: dict[str, Any] = {}

    def write_and_look() -> None:
        if between:
            between()
        before.update(checksums(engine, t))

    if between is None:
        write_and_look()
        archived = roll_back(engine, effect, *drop)
    else:
        archived = roll_back(engine, effect, *drop, between=write_and_look)
    assert archived.rows == before["rows"]
    restored = apply_again(engine, *again)
    assert checksums(engine, t) == before
    assert all(part.is_whole for part in restored.parts)
