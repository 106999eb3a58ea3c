"""Folding 5,000,000 events of 500,000 units in 10 experiments into sufficient statistics.

The first fold stands beside the bare query: events to units, units to arms. It also keeps every
unit's value, so that the next one need not read all events again; that stands beside the first.
"""

from __future__ import annotations

import atexit
import shutil
import statistics
import tempfile
import time
from functools import cache
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, Engine, text

from benchmarks.harness import Result, compare
from tasks import embedded
from tasks.bootstrap import bootstrap
from tasks.database import create_engine
from tasks.experiments.folding.folding import fold
from tasks.migrations.validation import alembic_config

EXPERIMENTS, UNITS, EVENTS_PER_UNIT = 10, 500_000, 10
HOURS = 3

BARE = """
SELECT variant_id, count(*), avg(value), var_samp(value)
FROM (
    SELECT a.id, a.variant_id, COALESCE(sum(m.event_value), 0) AS value
    FROM ab_assignments a
    LEFT JOIN ab_metrics m ON m.assignment_id = a.id AND m.event_type = 'buy'
    GROUP BY a.id, a.variant_id
) unit
GROUP BY variant_id
"""
PLAN = (
    """
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('spend', 'mean', 'buy', 'sum', 'zero')
    """,
    """
    INSERT INTO ab_experiments (experiment_name, status, started_at)
    SELECT 'experiment ' || n, 'active', now() - interval '10 days'
    FROM generate_series(1, :experiments) n
    """,
    """
    INSERT INTO ab_variants (experiment_id, variant_name, is_control)
    SELECT e.id, name, name = 'control' FROM ab_experiments e, unnest('{control,red}'::text[]) name
    """,
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    """
    INSERT INTO experiment_metric (experiment_id, metric_id, planned_sample_size)
    SELECT e.id, m.id, :units FROM ab_experiments e, metric m
    """,
)
UNITS_OF = """
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch)
SELECT e.id, e.arms[1 + n / :experiments % 2], 'user-' || n,
       now() - interval '10 days' + n % 200000 * interval '1 second', 0.5, 1
FROM generate_series(0, :units - 1) n JOIN (
    SELECT experiment_id AS id, array_agg(id) AS arms,
           row_number() OVER (ORDER BY experiment_id) - 1 AS place
    FROM ab_variants GROUP BY experiment_id
) e ON e.place = n % :experiments
"""
EVENTS_OF = """
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                        event_timestamp, event_id)
SELECT experiment_id, variant_id, id, 'buy', 10 + 5 * random(),
       assigned_at + (n + random()) * interval '1 hour', user_id || '-' || n
FROM generate_series(1, :events) n, ab_assignments
"""
INDEXES = """
SELECT indexname AS name, indexdef AS definition FROM pg_indexes
WHERE tablename = 'ab_metrics' AND indexname NOT LIKE 'pk%'
"""
# A row for each experiment in each batch of about 10,000 events, as they are loaded.
LOG = """
CREATE TABLE loaded AS
SELECT experiment_id, array_agg(assignment_id) AS units
FROM ab_metrics GROUP BY experiment_id, (ctid::text::point)[0]::integer / 200
"""
FORGET = (
    "TRUNCATE unit_value, moment_statistic, fold_state, touched_unit",
    """
    INSERT INTO touched_unit (experiment_id, assignment_ids) SELECT experiment_id, units FROM loaded
    """,
)
NEW_EVENTS = """
WITH made AS (
    INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                            event_timestamp, event_id)
    SELECT experiment_id, variant_id, id, 'buy', 10 + 5 * random(), now(), gen_random_uuid()::text
    FROM (SELECT * FROM ab_assignments ORDER BY hashtext(id::text || :hour) LIMIT :touched) unit,
         generate_series(1, :each)
    RETURNING experiment_id, assignment_id
)
INSERT INTO touched_unit (experiment_id, assignment_ids)
SELECT experiment_id, array_agg(DISTINCT assignment_id) FROM made GROUP BY experiment_id
"""

NEW_UNITS = """
WITH unit AS (
    INSERT INTO ab_assignments (
        experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch
    )
    SELECT e.id, e.arms[1 + n / :experiments % 2], :hour || '-' || n, now() - interval '1 hour',
           0.5, 1
    FROM generate_series(0, :touched - 1) n JOIN (
        SELECT experiment_id AS id, array_agg(id) AS arms,
               row_number() OVER (ORDER BY experiment_id) - 1 AS place
        FROM ab_variants GROUP BY experiment_id
    ) e ON e.place = n % :experiments
    RETURNING id, experiment_id, variant_id
), made AS (
    INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                            event_timestamp, event_id)
    SELECT experiment_id, variant_id, id, 'buy', 10 + 5 * random(), now(), gen_random_uuid()::text
    FROM unit, generate_series(1, :each)
    RETURNING experiment_id, assignment_id
)
INSERT INTO touched_unit (experiment_id, assignment_ids)
SELECT experiment_id, array_agg(DISTINCT assignment_id) FROM made GROUP BY experiment_id
"""


def first_fold() -> Result:
    """Everything for the first time, beside the bare two-level GROUP BY."""
    engine = _world()
    return compare(
        "first-fold-of-5m-events",
        lambda: _first(engine),
        lambda: _timed_bare(engine),
        pairs=2,
        bar=2.0,
        units=UNITS,
        events=UNITS * EVENTS_PER_UNIT,
    )


def next_hour_of_new_units() -> Result:
    """1 % new events, of units that came with them: an hour's newcomers."""
    case, few = "next-hour-of-1-percent-new-units", UNITS // 100
    return _next_hour(case, NEW_UNITS, few, EVENTS_PER_UNIT, bar=0.05)


def next_hour_in_few_units() -> Result:
    """1 % new events, all of 1 % of the units: an hour's visitors, who had come before."""
    case, few = "next-hour-in-1-percent-of-units", UNITS // 100
    return _next_hour(case, NEW_EVENTS, few, EVENTS_PER_UNIT, bar=0.05)


def next_hour_in_many_units() -> Result:
    """1 % new events, each of another unit: a tenth of all units has changed."""
    case, many = "next-hour-in-10-percent-of-units", UNITS * EVENTS_PER_UNIT // 100
    return _next_hour(case, NEW_EVENTS, many, 1, bar=None)


def _next_hour(case: str, what: str, touched: int, each: int, bar: float | None) -> Result:
    engine = _world()
    first = _first(engine)
    _upkeep(engine, "VACUUM ANALYZE unit_value")  # as autovacuum does
    hours = []
    for hour in range(HOURS):
        with engine.begin() as tx:
            _without_triggers(tx)
            given = {"touched": touched, "each": each, "hour": f"{case}-{hour}"}
            tx.execute(text(what), given | {"experiments": EXPERIMENTS})
        hours.append(_fold(engine))
    seconds = statistics.median(hours)
    return Result(case, seconds, first, seconds / first, bar, HOURS, facts={"touched": touched})


def _first(engine: Engine) -> float:
    for statement in FORGET:
        _upkeep(engine, statement)
    return _fold(engine)


def _fold(engine: Engine) -> float:
    with engine.connect() as tx:
        ids = [str(each) for each in tx.scalars(text("SELECT id FROM ab_experiments"))]
    started = time.perf_counter()
    with engine.begin() as tx:
        summaries = fold(tx, ids)
    seconds = time.perf_counter() - started
    if len(summaries) != EXPERIMENTS:
        raise AssertionError(f"{len(summaries)} of {EXPERIMENTS} experiments were folded")
    return seconds


def _timed_bare(engine: Engine) -> float:
    with engine.connect() as connection:
        started = time.perf_counter()
        connection.execute(text(BARE)).all()
        return time.perf_counter() - started


@cache
def _world() -> Engine:
    folder = Path(tempfile.mkdtemp(prefix="headway-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = embedded.start(folder, fsync=False)
    atexit.register(server.close)
    engine = create_engine(server.url())
    with engine.connect() as connection:
        bootstrap(connection, is_clock_adjustable=True)
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
    with engine.begin() as tx:
        _without_triggers(tx)
        sizes = {"experiments": EXPERIMENTS, "units": UNITS, "events": EVENTS_PER_UNIT}
        indexes = tx.execute(text(INDEXES)).all()
        dropped = [f"DROP INDEX {index.name}" for index in indexes]
        made = [index.definition for index in indexes]
        for statement in (*PLAN, UNITS_OF, *dropped, EVENTS_OF, *made, LOG):
            tx.execute(text(statement), sizes)
    _upkeep(engine, "VACUUM ANALYZE")
    return engine


def _without_triggers(tx: Connection) -> None:
    tx.execute(text("SET LOCAL session_replication_role = replica"))  # the rows are known to fit


def _upkeep(engine: Engine, statement: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(statement))
