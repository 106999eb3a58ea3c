"""A calibration of a million units: arms without a difference drawn 10,000 times, and tested.

Half of the units' values are 0 and the others lognormal, all different: the dearest case. The arms
are tested once in every draw; one draw in ten is looked at ten times by the acting method.
"""

from __future__ import annotations

import time
from pathlib import Path

from alembic import command
from sqlalchemy import text

from benchmarks.harness import Result
from benchmarks.surroundings import control_database
from flows.calibrate import calibrate_experiments
from tasks.database import control_engine
from tasks.migrations.validation import alembic_config

UNITS, DRAWS = 1_000_000, 10_000
LIMIT_SECONDS = 60.0
LIMIT_BYTES = 1_000_000_000

PREPARE = (
    """
    INSERT INTO ab_experiments (experiment_name, status, started_at)
    VALUES ('big', 'active', now() - interval '3 days')
    """,
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    """
    INSERT INTO ab_variants (experiment_id, variant_name, is_control)
    SELECT e.id, name, name = 'control' FROM ab_experiments e, unnest('{control,red}'::text[]) name
    """,
    """
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('spent', 'mean', 'buy', 'sum', 'zero')
    """,
    """
    INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size)
    SELECT e.id, m.id, 'primary', 2 * :units FROM ab_experiments e, metric m
    """,
    """
    INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value,
                                epoch)
    SELECT e.id, v.id, 'user-' || n, now() - interval '2 days' + n * interval '0.1 s', 0.5, 1
    FROM ab_experiments e JOIN ab_variants v ON v.experiment_id = e.id AND v.is_control,
         generate_series(1, :units) n
    """,
    "SELECT setseed(0.5)",
    """
    INSERT INTO unit_value (experiment_id, metric_id, assignment_id, variant_id, epoch, value)
    SELECT a.experiment_id, m.id, a.id, a.variant_id, 1,
           CASE WHEN random() < 0.5 THEN 0
                ELSE exp(sqrt(-2 * ln(1 - random())) * cos(6.283185307 * random())) END
    FROM ab_assignments a, metric m
    """,
    """
    INSERT INTO moment_statistic (experiment_id, metric_id, variant_id, dimension, level, assigned,
                                  events, converted, n, mean, m2)
    SELECT experiment_id, metric_id, variant_id, '', '', count(*), 0,
           count(*) FILTER (WHERE value > 0),
           count(*), avg(value), var_pop(value) * count(*)
    FROM unit_value GROUP BY experiment_id, metric_id, variant_id
    """,
    "ANALYZE",
)


def calibration_of_1m_units() -> Result:
    """One run of the flow as it is made every night, from the units' values to the verdict.

    The ratio is that of the highest memory of this process to a gigabyte.
    """
    with control_database(fsync=False):
        _prepare()
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        started = time.perf_counter()
        (found,) = calibrate_experiments(draws=DRAWS)
        seconds = time.perf_counter() - started
    memory = _peak_memory()
    if found.verdict != "kept" or found.units != UNITS:
        raise AssertionError(found.summary)
    return Result(
        case="calibration-of-1m-units",
        ours_seconds=seconds,
        reference_seconds=LIMIT_SECONDS,
        ratio=memory / LIMIT_BYTES,
        bar=1.0,
        pairs=1,
        limit_seconds=LIMIT_SECONDS,
        facts={
            "draws": found.draws,
            "false_positive_rate": found.false_positive_rate,
            "coverage": found.coverage,
            "over_all_looks": found.details["method_rate"],
            "peak_memory_bytes": memory,
        },
    )


def _prepare() -> None:
    with control_engine().connect() as connection:
        command.upgrade(alembic_config.load(connection), "head")
        connection.commit()
        for statement in PREPARE:
            connection.execute(text(statement), {"units": UNITS})
        connection.commit()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
