"""Giving 1,000,000 units their variant in SQL, beside what no assignment by hash can do without.

Choosing is the query of the batch itself, `choose_units`: bucket, overrides, share of the traffic,
targets and arm. The reference is the bare md5 of the same salted units, in the same table.
Assigning is the whole batch from a table: reading the units, choosing, writing assignments with
all their indexes, the log of touched units, the counts. Its reference is one INSERT of the same
rows into the same table, where nothing is left to find out.
"""

from __future__ import annotations

import time
from typing import Any

from alembic import command
from sqlalchemy import Connection, Row, column, func, select, text

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from tasks.database import control_engine
from tasks.experiments.assignment import batch, choosing_many
from tasks.experiments.assignment.choosing import salt_of
from tasks.experiments.assignment.units import UnitSource, stage_units
from tasks.migrations.validation import alembic_config

UNITS = 1_000_000
WRITTEN = 200_000
SOURCE = UnitSource(table="unit")
SETUP = (
    "CREATE TABLE unit AS SELECT 'user-' || n AS user_id FROM generate_series(1, :units) n",
    "INSERT INTO ab_experiments (experiment_name, status) VALUES ('buttons', 'active')",
    """
    INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight, is_control)
    SELECT e.id, v.name, v.weight, v.name = 'control'
    FROM ab_experiments e,
         (VALUES ('control', 0.5), ('red', 0.3), ('blue', 0.2)) v (name, weight)
    """,
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    "SELECT open_first_allocation(id, now(), NULL, NULL) FROM ab_experiments",
    "ANALYZE unit",
)
EMPTY = "TRUNCATE ab_assignments, touched_unit CASCADE"
COLUMNS = "experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch"


def choosing_for_1m_units() -> Result:
    """Bucket and variant of a million units against the md5 of the same texts."""
    with control_database(fsync=False):
        _prepare(UNITS)
        with control_engine().connect() as tx:
            stage_units(tx, SOURCE)
            split = tx.execute(
                choosing_many.QUERIES["batch_split"], {"experiment": "buttons"}
            ).one()
            return compare(
                "choosing-for-1m-units",
                lambda: _choose(tx, split),
                lambda: _hash(tx),
                bar=2.5,
                units=UNITS,
                targeted_half_traffic_seconds=round(_choose(tx, split, **_narrow()), 3),
            )


def assigning_200k_units() -> Result:
    """A whole batch, written down, against a bare INSERT of the same rows."""
    with control_database(fsync=False):
        _prepare(WRITTEN)
        return compare("assigning-200k-units", _assign, _insert, pairs=3, units=WRITTEN)


def _prepare(units: int) -> None:
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
    with control_engine().begin() as tx:
        for statement in SETUP:
            tx.execute(text(statement), {"units": units} if ":units" in statement else {})


def _narrow() -> dict[str, Any]:
    rules = '[{"attribute": "country", "op": "eq", "value": "DE"}]'
    return {"fraction": 0.5, "rules": rules}


def _choose(tx: Connection, split: Row[Any], **changes: Any) -> float:
    chosen = choosing_many.QUERIES["choose_units"].columns(column("variant_id")).subquery()
    parameters = choosing_many.chosen_by(split) | changes
    started = time.perf_counter()
    tx.execute(select(func.count(chosen.c.variant_id)), parameters).one()
    return time.perf_counter() - started


def _hash(tx: Connection) -> float:
    started = time.perf_counter()
    salt = {"salt": salt_of("buttons")}
    tx.execute(text("SELECT count(md5(:salt || ':' || user_id)) FROM incoming_unit"), salt).one()
    return time.perf_counter() - started


def _assign() -> float:
    with control_engine().begin() as tx:
        tx.execute(text(EMPTY))
        started = time.perf_counter()
        batch.assign_batch(tx, "buttons", SOURCE)
    return time.perf_counter() - started


def _insert() -> float:
    with control_engine().begin() as tx:
        tx.execute(text("DROP TABLE IF EXISTS given"))
        tx.execute(text(f"CREATE TABLE given AS SELECT {COLUMNS} FROM ab_assignments"))
        tx.execute(text(EMPTY))
        started = time.perf_counter()
        tx.execute(text(f"INSERT INTO ab_assignments ({COLUMNS}) SELECT {COLUMNS} FROM given"))
    return time.perf_counter() - started
