"""What the tests of archives share: roll back and apply again, with what that takes away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Engine

from tasks.migrations.archive import (
    Archived,
    Effect,
    Restored,
    archive,
    copy_bulk,
    finish,
    restore,
)

ENVIRONMENT, REVISION = "dev", "r1"
Statements = Iterable[str]


def execute(engine: Engine, *statements: str) -> None:
    """Run statements in one transaction, exactly as they are."""
    with engine.begin() as connection:
        run(connection, statements)


def run(connection: Connection, statements: Statements) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(query, execution_options={"no_parameters": True})
        return [tuple(row) for row in found]


def roll_back(
    engine: Engine,
    effect: Effect,
    *ddl: str,
    between: Callable[[], None] | None = None,
) -> Archived:
    """Archive and run the DDL; with ``between`` the bulk is copied before, and that runs then."""
    run_id = str(uuid.uuid4())
    if between is not None:
        copy_bulk(engine, ENVIRONMENT, REVISION, effect, run_id)
        between()
    with engine.begin() as connection:
        archived = archive(connection, ENVIRONMENT, REVISION, effect, run_id)
        run(connection, ddl)
        return finish(connection, archived)


def apply_again(engine: Engine, *ddl: str) -> Restored:
    """Run the DDL of the upgrade and bring back what was archived."""
    with engine.begin() as connection:
        run(connection, ddl)
        return restore(connection, ENVIRONMENT, REVISION)


def checksums(engine: Engine, table: str) -> dict[str, Any]:
    """A checksum of each column's values, whatever the order of the rows; and their number."""
    listed = rows(
        engine,
        f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attname",
    )
    sums = ", ".join(
        f"""sum(hashtextextended(coalesce("{name}"::text, '<null>'), 0))::text""".replace(
            f'"{name}"', '"' + name.replace('"', '""') + '"'
        )
        for (name,) in listed
    )
    (found,) = rows(engine, f"SELECT count(*), {sums} FROM {table}")
    return dict(zip(["rows", *(name for (name,) in listed)], found, strict=True))
