"""What a step costs beside a bare Prefect task, timed inside the flow's body.

The whole flow has a fixed cost of its own that would hide the difference.
"""

from __future__ import annotations

import time
import uuid

import prefect
from sqlalchemy import Connection

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from flows.pipeline import pipeline
from tasks import runs
from tasks.ledger import step

STEPS = 100


@step(key="{number}", name="benchmark-step")
def count_step(tx: Connection, number: int) -> int:  # noqa: ARG001 - every step has one
    """Do nothing, once."""
    return number


@prefect.task(name="benchmark-task")
def count_task(number: int) -> int:
    """Do nothing."""
    return number


@pipeline(name="benchmark-steps")
def many_steps() -> float:
    """Time a hundred steps."""
    return _seconds_of_steps()


@prefect.flow(name="benchmark-tasks")
def many_tasks() -> float:
    """Time a hundred bare tasks."""
    started = time.perf_counter()
    for number in range(STEPS):
        count_task(number)
    return time.perf_counter() - started


def steps_in_a_flow() -> Result:
    """A hundred steps in a flow against a hundred bare Prefect tasks in one."""
    with control_database(fsync=False):
        return compare("steps-in-a-flow", many_steps, many_tasks, bar=3.0, steps=STEPS, fsync=False)


def durable_steps_in_a_flow() -> Result:
    """The same, where each step waits for the disk to hold its commit; bare tasks never do."""
    case = "durable-steps-in-a-flow"
    with control_database(fsync=True):
        return compare(case, many_steps, many_tasks, pairs=3, steps=STEPS, fsync=True)


def replay_by_the_ledger() -> Result:
    """A hundred steps that are done already, against doing them: both by the ledger alone."""
    done = _run()
    with control_database(fsync=False):
        return compare(
            "replay-by-the-ledger",
            lambda: _by_the_ledger(done),
            lambda: _by_the_ledger(_run()),
            bar=1.0,
            steps=STEPS,
            fsync=False,
        )


def _by_the_ledger(run: runs.RunInfo) -> float:
    with runs.in_run(run):
        return _seconds_of_steps()


def _seconds_of_steps() -> float:
    started = time.perf_counter()
    for number in range(STEPS):
        count_step(number)
    return time.perf_counter() - started


def _run() -> runs.RunInfo:
    return runs.RunInfo(str(uuid.uuid4()), "benchmark", "benchmarks.steps:many_steps", "ledger")
