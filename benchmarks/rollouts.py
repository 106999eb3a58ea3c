"""How often is a guard wrong, and how soon is it right? `python -m benchmarks.rollouts [RUNS]`.

JSON lines, each with its runs, seed and standard errors. Every run is a whole rollout, judged tick
by tick by `decide_tick`: 5/2h, 25/4h, 50/8h, 75/12h, 100/24h, 2,000 requests an hour of all
versions together, a tick an hour, an error rate that must be below 5 %.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from tasks.rollouts.definition.policy import DEFAULT_CHECKS, CheckPolicy, RolloutPolicy
from tasks.rollouts.simulation.estimate import Assumed, Estimate, courses, summed_up
from tasks.rollouts.simulation.truth import Level, Truth

ERRORS = CheckPolicy(check="error_rate", limit=0.05)
SEQUENTIAL = RolloutPolicy(checks=(ERRORS,), guard="sequential")
ALL_CHECKS = RolloutPolicy(checks=DEFAULT_CHECKS, guard="sequential")
THRESHOLD = RolloutPolicy(checks=(ERRORS,))
HOURLY = RolloutPolicy(checks=(ERRORS.model_copy(update={"window_hours": 1.0, "min_samples": 0}),))
TWICE = RolloutPolicy(checks=(ERRORS.model_copy(update={"consecutive": 2}),))

SEED = 20261121
_FAST_ENOUGH = 52.0


@dataclass(frozen=True)
class Row:
    """One truth under one policy, and what is promised of it.

    ``most_false`` bounds the share of false rollbacks, ``least_done`` that of runs completed within
    52 h from below, ``most_delay`` the median hours from the first harm to the rollback.
    """

    guard: str
    name: str
    policy: RolloutPolicy
    truth: Truth
    most_false: float | None = None
    least_done: float | None = None
    most_delay: float | None = None
    tick_hours: float = 1.0
    weight: float = 1.0

    def runs_of(self, runs: int) -> int:
        """So many of the runs asked for: rows that promise no small share need fewer."""
        return max(round(runs * self.weight), 1)

    def assumed(self, runs: int, seed: int = SEED) -> Assumed:
        """What is simulated."""
        return Assumed(
            truth=self.truth,
            policy=self.policy,
            runs=runs,
            seed=seed,
            tick_hours=self.tick_hours,
            most_hours=_FAST_ENOUGH,
        )

    def is_kept(self, found: Estimate, deviations: float = 0.0) -> bool:
        """Tell whether the promises are kept, or missed by no more standard errors than that."""
        false, done, delay = found.false_rollback, found.completed, found.detection_delay
        return (
            _is_most(false.share, self.most_false, false.runs, deviations)
            and _is_most(-done.share, _negative(self.least_done), done.runs, deviations)
            and (self.most_delay is None or (delay is not None and delay.hours <= self.most_delay))
        )


def rows() -> Iterator[Row]:
    """Every row: what is promised first, then what else one may want to know."""
    for rate in (0.01, 0.02, 0.03):
        name = f"{rate:.1%}, and the control alike"
        yield Row("sequential", name, SEQUENTIAL, _errors(rate), 0.01, 0.99)
    for rate in (0.04, 0.045):
        name = f"{rate:.1%}, and the control alike"
        yield Row("sequential", name, SEQUENTIAL, _errors(rate), 0.01)
    yield Row("sequential", "4.5%, no control", SEQUENTIAL, _alone(0.045), 0.01)
    yield Row("sequential", "6.0% of both: a shared outage", SEQUENTIAL, _errors(0.06), 0.01)
    yield Row("sequential", "20% of both from hour 10 to 12", SEQUENTIAL, _outage(), 0.01)
    often = Row("sequential", "4.5%, a tick every 15 minutes", SEQUENTIAL, _errors(0.045), 0.01)
    yield replace(often, tick_hours=0.25)
    yield Row("sequential", "all three checks healthy", ALL_CHECKS, _healthy(), 0.01, 0.99)
    slow = _healthy(latency=195, control_latency=195)
    yield Row("sequential", "latency 195 ms of both", ALL_CHECKS, slow, 0.01)
    only_slow = slow.model_copy(update={"has_control": False})
    yield Row("sequential", "latency 195 ms, no control", ALL_CHECKS, only_slow, 0.01)
    heals = _errors(0.02, 0.08)
    yield Row("sequential", "2%, control 8%: it heals", SEQUENTIAL, heals, weight=0.5)
    late = Level(check="error_rate", canary=0.06, control=0.06, from_hour=30)
    nobody_left = Truth(levels=(Level(check="error_rate", canary=0.03), late))
    name = "6% of both from hour 30 on, when nobody is left to compare with"
    yield Row("sequential", name, SEQUENTIAL, nobody_left, weight=0.5)
    for truth, name, hours in (
        (_errors(0.10, 0.03), "10%, control 3%", 3),
        (_errors(0.10, 0.045), "10%, control 4.5%", 3),
        (_alone(0.10), "10%, no control", 3),
        (_errors(0.20, 0.03), "20%, control 3%", 1),
        (_alone(0.20), "20%, no control", 1),
        (_errors(0.07, 0.03), "7%, control 3%", None),
        (_alone(0.07), "7%, no control", None),
        (_errors(0.02, 0.01), "2%, control 1%", None),
        (_errors(0.03, 0.01), "3%, control 1%", None),
    ):
        yield Row("sequential", name, SEQUENTIAL, truth, most_delay=hours, weight=0.5)
    for truth, name in (
        (_healthy(error_rate=0.10), "10%, control 3%, three checks"),
        (
            _healthy(error_rate=0.10).model_copy(update={"has_control": False}),
            "10%, no control, three checks",
        ),
        (_healthy(latency=230), "latency 230 ms, control 150 ms, three checks"),
        (_healthy(accuracy=0.70), "accuracy 70%, control 85%, three checks"),
    ):
        yield Row("sequential", name, ALL_CHECKS, truth, weight=0.5)
    for guard, policy in (
        ("threshold", THRESHOLD),
        ("threshold twice in a row", TWICE),
        ("threshold, the last hour only, any sample size", HOURLY),
    ):
        for rate in (0.01, 0.02, 0.03, 0.04, 0.045, 0.06):
            name = f"{rate:.1%}, and the control alike"
            yield Row(guard, name, policy, _errors(rate), weight=0.5)
        for truth, name in (
            (_errors(0.10, 0.03), "10%, control 3%"),
            (_errors(0.20, 0.03), "20%, control 3%"),
            (_errors(0.03, 0.01), "3%, control 1%"),
        ):
            yield Row(guard, name, policy, truth, weight=0.5)


def document(row: Row, found: Estimate) -> dict[str, Any]:
    """One JSON object."""
    delay, done = found.detection_delay, found.completion
    return {
        "guard": row.guard,
        "truth": row.name,
        "runs": found.rolled_back.runs,
        "seed": SEED,
        "rolled_back": found.rolled_back.share,
        "rolled_back_error": round(found.rolled_back.standard_error, 5),
        "rolled_back_upper": round(found.rolled_back.upper, 5),
        "false_rollback": found.false_rollback.share,
        "completed_in_52h": found.completed.share,
        "completed_error": round(found.completed.standard_error, 5),
        "median_hours_to_find": delay and delay.hours,
        "median_hours_to_find_95": delay and (delay.lower, delay.upper),
        "median_hours_to_complete": done and done.hours,
        "is_within_bar": row.is_kept(found),
    }


def main(runs: int) -> int:
    """Print every row; 1 if one misses its bar."""
    is_kept = True
    for row in rows():
        assumed = row.assumed(row.runs_of(runs))
        followed = list(courses(assumed))
        found = summed_up(followed, row.truth.harmful_from(row.policy, assumed.horizon))
        is_kept &= row.is_kept(found)
        first = sum(course.hours == row.tick_hours for course in followed)
        at_first = {"ended_at_first_tick": first / len(followed)}
        print(json.dumps(document(row, found) | at_first), flush=True)
    return 0 if is_kept else 1


def _is_most(value: float, bar: float | None, runs: int, deviations: float) -> bool:
    if bar is None:
        return True
    return value <= bar + deviations * sqrt(abs(bar) * (1 - abs(bar)) / runs)


def _negative(bar: float | None) -> float | None:
    return None if bar is None else -bar


def _errors(canary: float, control: float | None = None) -> Truth:
    """Of the control, by default, the same is stated: what both suffer."""
    of_control = canary if control is None else control
    return Truth(levels=(Level(check="error_rate", canary=canary, control=of_control),))


def _alone(canary: float) -> Truth:
    return _errors(canary).model_copy(update={"has_control": False})


def _outage() -> Truth:
    outage = Level(check="error_rate", canary=0.2, control=0.2, from_hour=10, until_hour=12)
    return Truth(levels=(Level(check="error_rate", canary=0.03), outage))


def _healthy(
    error_rate: float = 0.03,
    latency: float = 150,
    accuracy: float = 0.85,
    control_latency: float = 150,
) -> Truth:
    """A control with 3 % errors, 150 ms (standard deviation 150) and 85 % right."""
    return Truth(
        levels=(
            Level(check="error_rate", canary=error_rate, control=0.03),
            Level(check="latency", canary=latency, control=control_latency, deviation=150),
            Level(check="accuracy", canary=accuracy, control=0.85),
        )
    )


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
