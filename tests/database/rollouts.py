"""How the rollout tests drive a rollout: hours pass, samples arrive, ticks happen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from flows.demo_traffic import Traffic, simulate_traffic
from tasks import clock
from tasks.rollouts.changes import manual
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.policy import DEFAULT_CHECKS, GuardName, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule, parse_slot
from tasks.rollouts.ticks.found import find_rollouts
from tasks.rollouts.ticks.measuring import MeasuredRollout, measure
from tasks.rollouts.ticks.tick import TickOutcome, tick
from tests.rows import rows_of

VERSION = "v2"
HEALTHY = Traffic()
FAILING = Traffic(error_rate=0.08)
CHECKS = tuple(check.model_copy(update={"min_samples": 500}) for check in DEFAULT_CHECKS)
POLICY = RolloutPolicy(checks=CHECKS)
BOTH_GUARDS = pytest.mark.parametrize("guard", ["threshold", "sequential"])
RECORD = text("SELECT record_health_sample(:version, :metric, :value_sum, :sample_count)")


def judged_by(guard: GuardName) -> RolloutPolicy:
    """The rates: for a mean the sequential guard asks for its spread, too."""
    return RolloutPolicy(guard=guard, checks=(CHECKS[0], CHECKS[2]))


def begin(
    database: Engine,
    schedule: str = DEFAULT_SCHEDULE,
    policy: RolloutPolicy | None = None,
    name: str = "rollout",
    version: str = VERSION,
    **planned: Any,
) -> ManualOutcome:
    """Start a rollout."""
    plan = RolloutPlan(
        name=name,
        model_version=version,
        schedule=parse_schedule(schedule),
        policy=policy or RolloutPolicy(),
        **planned,
    )
    with database.begin() as tx:
        return manual.start(tx, plan, "tester", "a test")


def hours_pass(database: Engine, hours: float) -> None:
    """Move the clock."""
    with database.begin() as tx:
        clock.shift(tx, timedelta(hours=hours))


def traffic(database: Engine, kind: Traffic = HEALTHY, version: str = VERSION) -> None:
    """Samples of the last hour."""
    with database.begin() as tx:
        simulate_traffic(tx, version, kind, seed=7)


def sample(
    database: Engine,
    metric: str,
    value_sum: float,
    count: int | None = None,
    version: str = VERSION,
) -> None:
    """One sample, now."""
    values = {"version": version, "metric": metric, "value_sum": value_sum, "sample_count": count}
    with database.begin() as tx:
        tx.execute(RECORD, values)


def tick_now(database: Engine, rollout_id: int = 1, slot: str | None = None) -> TickOutcome:
    """A tick whose slot is the clock's minute."""
    [outcome] = tick_on(database, measure_now(database, rollout_id), slot)
    return outcome


def measure_now(database: Engine, *rollout_ids: int) -> list[MeasuredRollout]:
    """What a tick measures before it locks anything."""
    with database.begin() as tx:
        return measure(tx, find_rollouts(tx, list(rollout_ids or (1,))), {})


def tick_on(
    database: Engine, measured: list[MeasuredRollout], slot: str | None = None
) -> list[TickOutcome]:
    """A tick on what was measured before; its slot is the clock's minute."""
    with database.begin() as tx:
        return tick(tx, slot or parse_slot(clock.now(tx).isoformat()), measured, "headway")


def an_hour(database: Engine, kind: Traffic | None = HEALTHY) -> TickOutcome:
    """An hour passes, with its traffic (None: none at all), and the tick comes."""
    hours_pass(database, 1)
    if kind is not None:
        traffic(database, kind)
    return tick_now(database)


def standing(database: Engine) -> tuple[float, str]:
    """Percentage and state of the only rollout."""
    [(percentage, state)] = rows_of(database, "SELECT percentage, state FROM rollout")
    return percentage, state


def codes(outcome: TickOutcome) -> list[str]:
    """The codes of the reasons."""
    return [reason.code for reason in outcome.reasons]


def statements(database: Engine, act: Callable[[], object]) -> int:
    """How many statements the act sends to the database."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(database, "before_cursor_execute", note)
    act()
    event.remove(database, "before_cursor_execute", note)
    return len(sent)
