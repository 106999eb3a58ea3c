"""Loading a file of events, against a bare COPY of the same rows into the same table.

The reference has nothing left to find out: its rows name their unit and variant by id. Ours reads
and checks the file, runs the suite, matches units, passes over what is known, marks conversions
and logs the units that it touched.
"""

from __future__ import annotations

import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import text

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from tasks import runs
from tasks.database import control_engine
from tasks.experiments import steps
from tasks.experiments.ingestion.files import scan_file
from tasks.migrations.validation import alembic_config

EVENTS = 200_000
UNITS = 40_000
BATCH = 50_000
HEADER = "user_id,event_type,event_value,event_timestamp,source,event_id"
COLUMNS = f"experiment_id, variant_id, assignment_id, {HEADER.partition(',')[2]}"
EXPERIMENT = (
    "INSERT INTO ab_experiments (experiment_name, status) VALUES ('buttons', 'active')",
    """
    INSERT INTO ab_variants (experiment_id, variant_name, is_control)
    SELECT e.id, name, name = 'control' FROM ab_experiments e, unnest('{control,red}'::text[]) name
    """,
    """
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('bought', 'proportion', 'buy', 'any', 'zero')
    """,
    """
    INSERT INTO experiment_metric (experiment_id, metric_id, planned_sample_size)
    SELECT e.id, m.id, :units FROM ab_experiments e, metric m
    """,
    """
    INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value)
    SELECT e.id, v.id, 'user-' || n, '2026-01-01', 0.5
    FROM ab_experiments e JOIN ab_variants v ON v.experiment_id = e.id,
         generate_series(0, :units - 1) n
    WHERE v.is_control = (n % 2 = 0)
    """,
)
EMPTY = (
    "TRUNCATE ab_metrics, ingest_batch, rejected_row, touched_unit CASCADE",
    "UPDATE ab_assignments SET has_converted = false, converted_at = NULL WHERE has_converted",
    "VACUUM ANALYZE ab_assignments",
)


def ingest_of_200k_events() -> Result:
    """200,000 events of 40,000 units from a CSV file, beside COPY of them into `ab_metrics`."""
    with tempfile.TemporaryDirectory() as folder, control_database(fsync=False):
        _prepare()
        path, rows = Path(folder) / "events.csv", list(_events())
        path.write_text(f"experiment,{HEADER}\n" + "".join(f"buttons,{row}\n" for row in rows))
        copied = _with_ids(rows)
        return compare(
            "ingest-of-200k-events",
            lambda: _ingest(path),
            lambda: _copy(copied),
            pairs=3,
            bar=2.0,  # half its rows a second  # half of its rows a second
            rows=EVENTS,
        )


def _ingest(path: Path) -> float:
    _empty()
    run = runs.RunInfo(str(uuid.uuid4()), "benchmark", "benchmarks.ingestion:ingest", "ledger")
    started = time.perf_counter()
    scan = scan_file(str(path), BATCH)
    with runs.in_run(run):
        loaded = [
            steps.ingest_batch(path=str(path), sha256=scan.sha256, batch=batch)
            for batch in scan.batches
        ]
    seconds = time.perf_counter() - started
    _require_all(sum(batch.events for batch in loaded))
    return seconds


def _copy(rows: bytes) -> float:
    _empty()
    with control_engine().begin() as tx:
        driver: Any = tx.connection.driver_connection
        started = time.perf_counter()
        with driver.cursor().copy(f"COPY ab_metrics ({COLUMNS}) FROM STDIN (FORMAT csv)") as copy:
            for place in range(0, len(rows), 1 << 20):
                copy.write(rows[place : place + (1 << 20)])
        tx.commit()
        seconds = time.perf_counter() - started
    with control_engine().connect() as connection:
        _require_all(connection.execute(text("SELECT count(*) FROM ab_metrics")).scalar_one())
    return seconds


def _require_all(rows: int) -> None:
    if rows != EVENTS:
        raise AssertionError(f"{rows} of {EVENTS} events were loaded")


def _prepare() -> None:
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
        for statement in EXPERIMENT:
            connection.execute(text(statement), {"units": UNITS})
        connection.commit()


def _events() -> Iterator[str]:
    """Rows under HEADER: a third of them of the primary metric."""
    chance = random.Random(4)
    for number in range(EVENTS):
        unit, kind = chance.randrange(UNITS), chance.choice(("buy", "view", "click"))
        moment = (
            f"2026-01-{chance.randrange(28) + 1:02d}T10:{number // 60 % 60:02d}:{number % 60:02d}Z"
        )
        yield f"user-{unit},{kind},{chance.random() * 10:.3f},{moment},web,event-{number}"


def _with_ids(rows: list[str]) -> bytes:
    with control_engine().connect() as connection:
        found = connection.execute(
            text("SELECT user_id, experiment_id, variant_id, id FROM ab_assignments")
        )
        ids = {row.user_id: f"{row.experiment_id},{row.variant_id},{row.id}" for row in found}
    split = (row.partition(",") for row in rows)
    return "".join(f"{ids[user]},{rest}\n" for user, _, rest in split).encode()


def _empty() -> None:
    with control_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in EMPTY:
            connection.execute(text(statement))
