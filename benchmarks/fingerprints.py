"""What it takes to read the schema of 500 tables, beside `pg_dump --schema-only` of the same."""

from __future__ import annotations

import subprocess
import time

from sqlalchemy import text

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from tasks import database
from tasks.migrations.fingerprint import take

TABLES = 500


def fingerprint_of_500_tables() -> Result:
    """Our fingerprint against pg_dump's text; ours has a limit in seconds."""
    with control_database(fsync=False):
        _make_tables()
        return compare("fingerprint-of-500-tables", _take, _dump, limit_seconds=3.0, tables=TABLES)


def _make_tables() -> None:
    with database.control_engine().begin() as tx:
        for number in range(TABLES):
            tx.execute(text(_TABLE.format(number=number, parent=number // 2)))


def _take() -> float:
    with database.control_engine().connect() as connection:
        started = time.perf_counter()
        _ = take(connection).hash
        return time.perf_counter() - started


def _dump() -> float:
    server = database.embedded_server()
    where = ["-h", server.running.socket, "-p", str(server.running.port), "-U", "postgres"]
    started = time.perf_counter()
    subprocess.run(
        [server.binary("pg_dump"), "--schema-only", *where, "headway"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


_TABLE = """
CREATE TABLE bench_{number} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent_id bigint REFERENCES bench_{parent} (id) ON DELETE CASCADE,
    name varchar(80) NOT NULL,
    quantity integer NOT NULL DEFAULT 0 CHECK (quantity >= 0),
    price numeric(12, 2),
    note text,
    is_open boolean NOT NULL DEFAULT true,
    document jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_bench_{number} UNIQUE (name, parent_id)
);
CREATE INDEX idx_bench_{number} ON bench_{number} (parent_id) WHERE is_open;
COMMENT ON COLUMN bench_{number}.note IS 'free text';
"""
