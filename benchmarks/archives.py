"""A million rows into the archive and back, beside `COPY` out and in of the same table."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from tasks import database
from tasks.migrations.archive import Effect, archive, copy_bulk, finish, restore

ROWS = 1_000_000
_EFFECT = Effect(dropped_tables=(("public", "bench"),))


def archive_and_restore() -> Result:
    """Drop a table of a million rows and get it back, against copying it to a file and back."""
    with control_database(fsync=False):
        with database.control_engine().begin() as tx:
            tx.execute(text(_TABLE))
            tx.execute(text(_FILL), {"rows": ROWS})
        return compare(
            "archive-and-restore-of-1m-rows",
            _through_archive,
            _through_file,
            bar=3.0,
            pairs=3,
            rows=ROWS,
        )


def _through_archive() -> float:
    engine = database.control_engine()
    started = time.perf_counter()
    copy_bulk(engine, "bench", "r1", _EFFECT, None)
    with engine.begin() as tx:
        archived = archive(tx, "bench", "r1", _EFFECT, None)
        tx.execute(text("DROP TABLE bench"))
        finish(tx, archived)
    with engine.begin() as tx:
        tx.execute(text(_TABLE))
        restored = restore(tx, "bench", "r1")
    seconds = time.perf_counter() - started
    _require_all(restored.rows)
    _tidy()
    return seconds


def _through_file() -> float:
    engine = database.control_engine()
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as folder, engine.begin() as tx:
        file = Path(folder) / "bench.copy"
        started = time.perf_counter()
        _copy_out(tx, file)
        tx.execute(text("DROP TABLE bench"))
        tx.execute(text(_TABLE))
        _copy_in(tx, file)
        seconds = time.perf_counter() - started
        _require_all(int(tx.scalar(text("SELECT count(*) FROM bench")) or 0))
    _tidy()
    return seconds


def _copy_out(tx: Connection, file: Path) -> None:
    driver: Any = tx.connection.driver_connection
    with file.open("wb") as out, driver.cursor().copy("COPY bench TO STDOUT") as copy:
        for block in copy:
            out.write(block)


def _copy_in(tx: Connection, file: Path) -> None:
    driver: Any = tx.connection.driver_connection
    with file.open("rb") as source, driver.cursor().copy("COPY bench FROM STDIN") as copy:
        while block := source.read(2**20):
            copy.write(block)


def _require_all(rows: int) -> None:
    if rows != ROWS:
        raise AssertionError(f"{rows} of {ROWS} rows came back")


def _tidy() -> None:
    # What the one leaves behind must not slow the other down.
    engine = database.control_engine()
    with engine.begin() as tx:
        names = tx.scalars(text("SELECT archived_in FROM headway.archive")).all()
        for name in names:
            tx.execute(text(f'DROP TABLE headway_archive."{name}"'))
        tx.execute(text("DELETE FROM headway.archive"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE bench"))
        connection.execute(text("CHECKPOINT"))


_TABLE = """
CREATE TABLE bench (
    id bigint PRIMARY KEY,
    customer_id integer NOT NULL,
    name varchar(80) NOT NULL,
    price numeric(12, 2),
    is_open boolean NOT NULL DEFAULT true,
    document jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
_FILL = """
INSERT INTO bench (id, customer_id, name, price, document)
SELECT n, n % 1000, 'customer ' || n, n / 7.0, jsonb_build_object('n', n, 'tag', md5(n::text))
FROM generate_series(1, :rows) AS n
"""
