"""Units to assign, from a CSV file or a table: read into a temporary table of the transaction."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection, text

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.assignment.choosing import MAX_UNIT_LENGTH

QUERIES = load_queries(__package__)
_COLUMNS = ("user_id", "session_id", "attributes", "metadata")
_Staged = tuple[int, str | None, str | None, str | None, str | None, str | None]


class UnitSource(BaseModel):
    """Where units come from: a CSV file, or a table or view of the control database.

    Both have a column ``user_id``, and may have ``session_id``, ``attributes`` and ``metadata``
    (JSON objects). Other columns are passed over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str | None, Field(description="a CSV file, as the worker sees it")] = None
    table: Annotated[str | None, Field(description="name of a table or view")] = None

    @model_validator(mode="after")
    def _is_one(self) -> UnitSource:
        if (self.path is None) is (self.table is None):
            raise ValueError("units come from a path or a table: give one of the two")
        return self

    @property
    def name(self) -> str:
        """The path or the table."""
        return self.path or self.table or ""


def stage_units(tx: Connection, source: UnitSource) -> None:
    """Fill the temporary tables `incoming_unit` and, with what names no unit, `broken_unit`.

    They go at the end of the transaction.
    Raises InputError for a file without ``user_id`` or that is no CSV, NotFound for a table that
    is not there.
    """
    tx.execute(QUERIES["create_incoming_units"])
    tx.execute(QUERIES["create_broken_units"])
    if source.path is not None:
        _copy_file(tx, Path(source.path))
    elif source.table is not None:
        _copy_table(tx, source.table)
    tx.execute(QUERIES["set_broken_aside"])
    tx.execute(text("ANALYZE incoming_unit"))


def _copy_file(tx: Connection, path: Path) -> None:
    driver: Any = tx.connection.driver_connection
    columns = f"line_number, {', '.join(_COLUMNS)}, problem"
    with driver.cursor().copy(f"COPY incoming_unit ({columns}) FROM STDIN") as copy:
        for row in read_units(path):
            copy.write_row(row)


def read_units(path: Path) -> Iterator[_Staged]:
    """Yield each row of a CSV file: line, columns as text, and what is wrong with it or None."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if "user_id" not in header:
                raise InputError(f"{path} has no column user_id; it has {', '.join(header)}")
            places = {name: header.index(name) for name in _COLUMNS if name in header}
            for row in rows:
                if row:
                    yield _staged(row, rows.line_num, places)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from None


def _staged(row: list[str], line: int, places: dict[str, int]) -> _Staged:
    held = {name: row[place] for name, place in places.items() if place < len(row)}
    user, session = held.get("user_id", ""), held.get("session_id") or None
    attributes, metadata = held.get("attributes") or None, held.get("metadata") or None
    problem = _problem(user, session, attributes, metadata)
    if problem is not None:
        shown = user[:80].replace("\0", "\ufffd")
        return line, shown, None, None, None, problem
    return line, user, session, attributes, metadata, None


def _problem(
    user: str, session: str | None, attributes: str | None, metadata: str | None
) -> str | None:
    if not user:
        return "missing-user"
    if len(user) > MAX_UNIT_LENGTH:
        return "user-too-long"
    if "\0" in user or "\0" in (session or ""):
        return "nul-character"
    if not (_is_object(attributes) and _is_object(metadata)):
        return "no-json-object"
    return None


def _is_object(written: str | None) -> bool:
    if written is None:
        return True
    try:
        # What json reads and Postgres does not: NaN, infinities, NUL characters, lone surrogates.
        found = json.loads(written, parse_constant=_refuse)
        return isinstance(found, dict) and "\\u0000" not in json.dumps(found) and _encodes(found)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _encodes(found: dict[str, Any]) -> bool:
    json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate raises UnicodeEncodeError
    return True


def _copy_table(tx: Connection, table: str) -> None:
    found = tx.execute(QUERIES["columns_of_table"], {"table": table}).first()
    if found is None:
        raise NotFound(f"there is no table or view {table!r} in the control database")
    if "user_id" not in (found.columns or []):
        raise InputError(f"{table} has no column user_id")
    kinds = {"attributes": "jsonb", "metadata": "jsonb"}
    chosen = [
        f"CAST({name} AS {kinds.get(name, 'text')})" if name in found.columns else "NULL"
        for name in _COLUMNS
    ]
    tx.execute(
        text(
            f"INSERT INTO incoming_unit (line_number, {', '.join(_COLUMNS)}) "  # noqa: S608
            f"SELECT row_number() OVER (), {', '.join(chosen)} FROM {_quoted(tx, table)}"
        )
    )


def _quoted(tx: Connection, table: str) -> str:
    """The table's name as Postgres writes it: nothing else can be in it."""
    return str(tx.scalar(text("SELECT CAST(to_regclass(:table) AS text)"), {"table": table}))
