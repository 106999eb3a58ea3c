"""An hour's analysis of many small experiments, as the flow makes it.

Two arms of a hundred users each, a primary metric, a secondary one and a guardrail: starting and
ending by the calendar, waiting events, folding, the suites, every quality check, decisions, looks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, Engine, event, text

from benchmarks.harness import Result
from benchmarks.surroundings import control_database
from flows.analyze import BATCH, analyze_experiments
from tasks.database import control_engine
from tasks.experiments.analysis.results import Analysis
from tasks.migrations.validation import alembic_config

EXPERIMENTS = 1000
UNITS = 200
LIMIT_SECONDS = 60.0
LIMIT_BYTES = 1_000_000_000
LIMIT_STATEMENTS = 100 + -(-EXPERIMENTS // BATCH)

PREPARE = (
    """
    INSERT INTO ab_experiments (experiment_name, status, started_at)
    SELECT 'e' || n, 'active', now() - interval '3 days' FROM generate_series(1, :experiments) n
    """,
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    """
    INSERT INTO ab_variants (experiment_id, variant_name, is_control)
    SELECT e.id, name, name = 'control' FROM ab_experiments e, unnest('{control,red}'::text[]) name
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
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('bought', 'proportion', 'buy', 'any', 'zero'), ('spent', 'sum', 'buy', 'sum', 'zero'),
           ('visits', 'count', 'visit', 'count', 'zero')
    """,
    """
    INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size, margin)
    SELECT e.id, m.id, r.role::metric_role, 400, CASE WHEN r.role = 'guardrail' THEN 0.2 END
    FROM ab_experiments e, metric m
    JOIN (VALUES ('bought', 'primary'), ('spent', 'secondary'), ('visits', 'guardrail'))
         AS r (name, role) USING (name)
    """,
    """
    INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value,
                                epoch)
    SELECT e.id, v.id, 'user-' || n, now() - interval '2 days', 0.5, 1
    FROM ab_experiments e JOIN ab_variants v ON v.experiment_id = e.id,
         generate_series(0, :units - 1) n
    WHERE v.is_control = (n % 2 = 0)
    """,
    """
    INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                            event_timestamp, event_id)
    SELECT a.experiment_id, a.variant_id, a.id, kind, 1 + random(),
           now() - make_interval(secs => 86400 * random()), kind || a.user_id
    FROM ab_assignments a, unnest('{buy,visit}'::text[]) kind
    WHERE (hashtext(kind || a.id) & 1023) / 1024.0 < CASE kind WHEN 'buy' THEN 0.3 ELSE 0.8 END
    """,
    "ANALYZE",
)


def analysis_of_1000_experiments() -> Result:
    """One run of the flow over a thousand experiments that were never looked at.

    The ratio is the larger of two: statements of all steps to those allowed (100, and one for each
    batch), and the highest memory of this process to a gigabyte. What Great Expectations sends to
    validate the four tables is counted apart: it does not depend on the number of experiments.
    """
    with control_database(fsync=False):
        _prepare()
        with _counted() as statements, _counted(of_ours=False) as of_suites:
            started = time.perf_counter()
            analyses = analyze_experiments()
            seconds = time.perf_counter() - started
        looked_at = sum(not analysis.is_skipped for analysis in analyses)
        tested = sum(_is_tested(analysis) for analysis in analyses)
    memory = _peak_memory()
    ratio = max(len(statements) / LIMIT_STATEMENTS, memory / LIMIT_BYTES)
    return Result(
        case="analysis-of-1000-experiments",
        ours_seconds=seconds,
        reference_seconds=LIMIT_SECONDS,
        ratio=ratio,
        bar=1.0,
        pairs=1,
        limit_seconds=LIMIT_SECONDS,
        facts={
            "looked_at": looked_at,
            "tested": tested,
            "statements": len(statements),
            "allowed_statements": LIMIT_STATEMENTS,
            "suite_statements": len(of_suites),
            "peak_memory_bytes": memory,
        },
    )


def _is_tested(analysis: Analysis) -> bool:
    return analysis.verdict is not None and bool(analysis.verdict.details["is_usable"])


def _prepare() -> None:
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
        for statement in PREPARE:
            connection.execute(text(statement), {"experiments": EXPERIMENTS, "units": UNITS})
        connection.commit()


@contextmanager
def _counted(*, of_ours: bool = True) -> Iterator[list[str]]:
    """Every statement of our engine, or of any other one; the peak of memory starts anew."""
    sent: list[str] = []

    def note(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if (connection.engine is control_engine()) is of_ours:
            sent.append(statement)

    Path("/proc/self/clear_refs").write_text("5", "ascii")
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
