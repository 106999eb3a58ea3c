"""SQL with names in it: quoted, run without parameters, under settings that make texts exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, CursorResult

from tasks import jsonb
from tasks.database import load_queries

QUERIES = load_queries(__package__)
SCHEMA = "headway_archive"
# With these every value's text is the whole value; a policy may not hide rows, it raises.
EXACT: Mapping[str, str] = MappingProxyType(
    {
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "row_security": "off",
    }
)


def quoted(*names: str) -> str:
    """The names as one qualified identifier; always quoted."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(value: str) -> str:
    """The text as a literal, whatever it holds."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"E'{escaped}'" if "\\" in value else "'" + value.replace("'", "''") + "'"


def run(connection: Connection, sql: str) -> CursorResult[Any]:
    """Run a statement as it is: no parameters, so that `%` and `:` mean themselves."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


@contextmanager
def settled(connection: Connection, **settings: str) -> Iterator[None]:
    """Settings for the statements inside, put back after them (on an error by the rollback)."""
    rows = connection.execute(QUERIES["swap_settings"], {"settings": jsonb.dump(settings)})
    before = {row.name: row.before or "" for row in rows}
    yield
    connection.execute(QUERIES["swap_settings"], {"settings": jsonb.dump(before)})
