"""The temporary table that a batch is copied to, before its rows are known to fit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from tasks.database import load_queries
from tasks.experiments.ingestion.columns import Encoded, Records
from tasks.experiments.ingestion.events import Row
from tasks.experiments.ingestion.values import BrokenRow, dump

QUERIES = load_queries(__package__)


def begin(tx: Connection) -> None:
    """An empty `incoming_row`."""
    tx.execute(QUERIES["create_incoming"])
    tx.execute(QUERIES["empty_incoming"])


def copy_rows(
    tx: Connection, good: list[Encoded], broken: list[tuple[int, Row]], records: Records
) -> None:
    """Put rows, those that could not be read too, into `incoming_row`."""
    driver: Any = tx.connection.driver_connection
    for each in (each for each in good if each.row_count):
        statement = f"COPY incoming_row ({', '.join(each.columns)}) FROM STDIN"
        with driver.cursor().copy(statement) as copy:
            copy.write(each.text)
    copy_broken(tx, broken, records)
    tx.execute(text("ANALYZE incoming_row (user_id, event_id)"))


def copy_broken(tx: Connection, broken: list[tuple[int, Row]], records: Records) -> None:
    """Put rows that could not be read into `incoming_row`."""
    columns = "line_number, row_number, raw, reason_code, message"
    driver: Any = tx.connection.driver_connection
    with driver.cursor().copy(f"COPY incoming_row ({columns}) FROM STDIN") as copy:
        for place, row in broken:
            number = records.row_numbers[place]
            copy.write_row((row.line_number, number, row.raw, row.reason_code, row.message))


def fill_raw(tx: Connection, records: Records) -> None:
    """Keep what rejected rows said."""
    numbers = list(tx.scalars(QUERIES["find_unkept"]))
    if not numbers:
        return
    said = dict(zip(records.row_numbers, records.raws, strict=True))
    raws = [dump(raw.raw if isinstance(raw := said[n], BrokenRow) else dict(raw)) for n in numbers]
    tx.execute(QUERIES["fill_raw"], {"row_numbers": numbers, "raws": raws})


def reasons_of(tx: Connection, *, is_released: bool = False) -> dict[str, int]:
    """How many rows in `incoming_row` were rejected for which reason."""
    found = tx.execute(QUERIES["count_reasons"], {"is_released": is_released})
    return {row.reason_code: row.rows for row in found}
