from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from sqlalchemy import Engine

from tasks.rollouts.changes import manual
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tests.database.rollouts import begin, hours_pass, sample, standing, tick_now, traffic
from tests.rows import rows_of

T = TypeVar("T")


def together(*actions: Callable[[], T]) -> list[T]:
    """Run the actions at the same moment, each in its own thread."""
    barrier = Barrier(len(actions))

    def wait_and_run(action: Callable[[], T]) -> T:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(wait_and_run, actions))


def test_two_workers_of_one_slot_make_one_transition(database: Engine) -> None:
    """Scenario 22, 50 times. Guard: the row lock, and one row of checks for each slot."""
    schedule = ",".join(f"{percentage}/0.01h" for percentage in range(1, 60))
    errors = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05),))
    begin(database, schedule, policy=errors)
    for number in range(50):
        hours_pass(database, 1)
        sample(database, "error_rate", 1, 1000)
        hours_pass(database, 0.01)

        def tick(slot: str = f"{2020 + number}-02-20T00:00Z") -> str:
            return tick_now(database, slot=slot).verdict

        assert sorted(together(tick, tick)) == ["advance", "skip"]
    for table in ("rollout_change", "health_check"):
        counted = f"SELECT count(*), count(DISTINCT slot) FROM {table} WHERE slot IS NOT NULL"
        assert rows_of(database, counted) == [(50, 50)]
    assert standing(database) == (51, "running")


def test_many_late_ticks_at_once_make_at_most_one_transition(database: Engine) -> None:
    begin(database)
    hours_pass(database, 9)
    traffic(database)
    slots = [f"2026-11-20T{hour:02}:00Z" for hour in range(8)]
    verdicts = together(
        *(lambda slot=slot: tick_now(database, slot=slot).verdict for slot in slots)
    )
    assert verdicts.count("advance") == 1
    assert standing(database) == (25, "running")


def test_a_rollback_by_hand_beats_a_tick_in_flight(database: Engine) -> None:
    for number in range(1, 11):
        version = f"v{number}"
        rollout_id = begin(database, name=version, version=version).rollout_id
        hours_pass(database, 2)
        traffic(database, version=version)

        def roll_back(name: str = version) -> str:
            with database.begin() as tx:
                return manual.roll_back(tx, name, "ada", "because").state

        def tick(rollout_id: int = rollout_id) -> str:
            return tick_now(database, rollout_id).verdict

        together(roll_back, tick)
    assert rows_of(database, "SELECT DISTINCT state, percentage FROM rollout") == [
        ("rolled_back", 0)
    ]
