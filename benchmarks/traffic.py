"""An hour's update of many bandits, as the flow makes it.

Five arms of a hundred users each, one of them better, and ten users more since the last hour:
folding, every quality check, chances by quadrature, decisions, epochs. Each split has
moved for weeks, so that its ranges are many.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from sqlalchemy import Connection, event, text

from benchmarks.harness import Result
from benchmarks.surroundings import control_database
from flows.allocate import allocate_traffic
from tasks.database import control_engine
from tasks.decisions import replay
from tasks.experiments import steps
from tasks.experiments.folding.folding import fold
from tasks.migrations.validation import alembic_config
from tasks.rules import load_rules
from tasks.runs import RunInfo, in_run

BANDITS = 1000
UNITS = 500
NEW_UNITS = 10
LIMIT_SECONDS = 10.0
LIMIT_STATEMENTS = 120
RANGES = 100

PREPARE = (
    """
    INSERT INTO ab_experiments (experiment_name, status, started_at)
    SELECT 'e' || n, 'active', now() - interval '3 days' FROM generate_series(1, :bandits) n
    """,
    "INSERT INTO experiment_plan (experiment_id, bandit) SELECT id, '{}' FROM ab_experiments",
    """
    INSERT INTO ab_variants (experiment_id, variant_name, is_control, traffic_weight)
    SELECT e.id, name, name = 'a', 0.2 FROM ab_experiments e, unnest('{a,b,c,d,e}'::text[]) name
    """,
    """
    INSERT INTO allocation (experiment_id, epoch, started_at)
    SELECT id, 1, started_at FROM ab_experiments
    """,
    """
    INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
    SELECT experiment_id, 1, id, traffic_weight FROM ab_variants
    """,
    """
    INSERT INTO allocation_range (experiment_id, epoch, lower_bound, variant_id)
    SELECT v.experiment_id, 1, n / CAST(:ranges AS double precision), v.id
    FROM generate_series(0, :ranges - 1) n
    JOIN ab_variants v ON ascii(v.variant_name) - ascii('a') = n % 5
    """,
    """
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('bought', 'proportion', 'buy', 'any', 'zero')
    """,
    """
    INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size)
    SELECT e.id, m.id, 'primary', 10000 FROM ab_experiments e, metric m
    """,
    "ANALYZE",
)
COME = (
    """
    WITH came AS (
        INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value,
                                    epoch)
        SELECT v.experiment_id, v.id, 'user-' || n, now() - interval '2 days', 0.5, 1
        FROM ab_variants v, generate_series(CAST(:first AS integer), :last - 1) n
        WHERE ascii(v.variant_name) - ascii('a') = n % 5
        RETURNING experiment_id, id
    )
    INSERT INTO touched_unit (experiment_id, assignment_ids)
    SELECT experiment_id, array_agg(id) FROM came GROUP BY experiment_id
    """,
    """
    INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                            event_timestamp, event_id)
    SELECT a.experiment_id, a.variant_id, a.id, 'buy', 1,
           now() - make_interval(secs => 86400 * random()), a.user_id
    FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id
    WHERE (hashtext(a.user_id || a.experiment_id) & 1023) / 1024.0
          < CASE v.variant_name WHEN 'c' THEN 0.2 ELSE 0.1 END
      AND NOT EXISTS (SELECT FROM ab_metrics m WHERE m.assignment_id = a.id)
    """,
    "ANALYZE",
)


def allocation_of_1000_bandits() -> Result:
    """One run of the flow over a thousand bandits, each with something new.

    As in every hour the analysis has just validated the tables. The ratio is that of the
    statements, the ledger's own among them, to those allowed.
    """
    with control_database(fsync=False):
        _prepare()
        _check()
        with _counted() as statements:
            started = time.perf_counter()
            updates = allocate_traffic()
            seconds = time.perf_counter() - started
        load_rules()
        with control_engine().connect() as connection:
            replayed = replay(connection)
            epochs = connection.scalar(text("SELECT count(*) FROM allocation WHERE epoch > 1"))
            ranges = connection.scalar(text("SELECT count(*) FROM allocation_range"))
    return Result(
        case="allocation-of-1000-bandits",
        ours_seconds=seconds,
        reference_seconds=LIMIT_SECONDS,
        ratio=len(statements) / LIMIT_STATEMENTS,
        bar=1.0,
        pairs=1,
        limit_seconds=LIMIT_SECONDS,
        facts={
            "changed": sum(each.outcome == "changed" for each in updates),
            "held": sum(each.outcome == "held" for each in updates),
            "epochs_opened": epochs,
            "ranges_written": ranges,
            "statements": len(statements),
            "allowed_statements": LIMIT_STATEMENTS,
            "replayed": replayed.replayed,
            "replayed_otherwise": len(replayed.differences),
        },
    )


def _prepare() -> None:
    """A thousand bandits that were folded an hour ago, and what has come since."""
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
        for statement in PREPARE:
            connection.execute(text(statement), {"bandits": BANDITS, "ranges": RANGES})
        _come(connection, 0, UNITS)
        ids = connection.scalars(text("SELECT id::text FROM ab_experiments ORDER BY 1")).all()
        fold(connection, ids)
        connection.commit()
        _come(connection, UNITS, UNITS + NEW_UNITS)
        connection.commit()


def _check() -> None:
    run = RunInfo(id=str(uuid.uuid4()), flow="analysis", entrypoint="benchmarks", mode="ledger")
    with in_run(run):
        steps.check_experiment_data()


def _come(connection: Connection, first: int, last: int) -> None:
    """Units of each bandit by these numbers, and what they do."""
    for statement in COME:
        connection.execute(text(statement), {"first": first, "last": last})


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Every statement that reaches the control database, the ledger's and savepoints too."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    engine = control_engine()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
