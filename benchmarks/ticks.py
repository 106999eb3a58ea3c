"""An hour's tick over many rollouts, as the flow makes it.

Three checks each, a day of samples a quarter of an hour apart. Most hold, a tenth goes a stage up,
a few do harm: measuring, locking, deciding, the audit, alerts and news, and what the ledger writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from sqlalchemy import event, text

from benchmarks.harness import Result
from benchmarks.surroundings import control_database
from flows.rollout import progress_rollouts
from tasks.database import control_engine
from tasks.migrations.validation import alembic_config
from tasks.rollouts.definition.policy import RolloutPolicy

ROLLOUTS = 1000
LIMIT_SECONDS = 5.0
LIMIT_STATEMENTS = 20

PREPARE = (
    """
    INSERT INTO rollout (name, model_version, salt, percentage, stage_index, stage_entered_at,
                         created_at, policy)
    SELECT 'r' || n, 'v' || n, 'rollout:r' || n, 5, 0,
           now() - make_interval(hours => CASE WHEN n % 10 = 0 THEN 30 ELSE 20 END),
           now() - interval '30 hours', CAST(:policy AS jsonb)
    FROM generate_series(1, :rollouts) n
    """,
    """
    INSERT INTO rollout_stage (rollout_id, stage_index, percentage, duration_seconds)
    SELECT id, stage.number, stage.percentage, 86400
    FROM rollout, (VALUES (0, 5), (1, 25), (2, 100)) AS stage (number, percentage)
    """,
    """
    INSERT INTO health_sample (model_version, metric, value_sum, sample_count, observed_at, source)
    SELECT 'v' || n, metric.name, metric.mean * 500, 500,
           now() - make_interval(mins => 15 * quarter), 'benchmark'
    FROM generate_series(1, :rollouts) n, generate_series(1, 96) quarter,
         (VALUES ('error_rate', 0.01), ('latency', 120), ('accuracy', 0.9)) AS metric (name, mean)
    """,
    """
    UPDATE health_sample SET value_sum = 100
    WHERE metric = 'error_rate' AND CAST(substr(model_version, 2) AS integer) <= :harmful
    """,
    "ANALYZE",
)


def tick_over_1000_rollouts() -> Result:
    """One tick over a thousand running rollouts, none of which does harm.

    The ratio is that of its statements, the ledger's own among them, to those allowed.
    """
    return _tick("tick-over-1000-rollouts", harmful=0)


def tick_over_1000_rollouts_with_harm() -> Result:
    """As above, where twenty versions do harm: they go to nobody, and alerts open.

    No statement more is allowed for that.
    """
    return _tick("tick-over-1000-rollouts-with-harm", harmful=20)


def _tick(case: str, harmful: int) -> Result:
    with control_database(fsync=False):
        _prepare(harmful)
        with _counted() as statements:
            started = time.perf_counter()
            outcomes = progress_rollouts()
            seconds = time.perf_counter() - started
        with control_engine().connect() as connection:
            alerts = connection.scalar(text("SELECT count(*) FROM alert WHERE state = 'open'"))
    verdicts = [outcome.verdict for outcome in outcomes]
    return Result(
        case=case,
        ours_seconds=seconds,
        reference_seconds=LIMIT_SECONDS,
        ratio=len(statements) / LIMIT_STATEMENTS,
        bar=1.0,
        pairs=1,
        limit_seconds=LIMIT_SECONDS,
        facts={
            "statements": len(statements),
            "alerts": alerts,
            **{verdict: verdicts.count(verdict) for verdict in ("hold", "advance", "rollback")},
        },
    )


def _prepare(harmful: int) -> None:
    values = {
        "rollouts": ROLLOUTS,
        "harmful": harmful,
        "policy": RolloutPolicy().model_dump_json(),
    }
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
        for statement in PREPARE:
            connection.execute(text(statement), values)
        connection.commit()


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Every statement that reaches the control database, the ledger's and savepoints too."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    engine = control_engine()
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)
