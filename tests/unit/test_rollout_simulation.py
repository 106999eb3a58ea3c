"""What a simulated rollout does, and what many of them come to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from math import sqrt
from typing import Any

import numpy as np
import pytest

from benchmarks.rollouts import SEED, Row, document, rows
from tasks.rollouts.definition.freeze import FreezeOnce, FreezeWeekly
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.simulation.course import Course, follow
from tasks.rollouts.simulation.estimate import Assumed, courses, estimate, summed_up
from tasks.rollouts.simulation.figures import median_of, share
from tasks.rollouts.simulation.simulated import Simulated
from tasks.rollouts.simulation.sums import Seen, Sums
from tasks.rollouts.simulation.traffic import drawn
from tasks.rollouts.simulation.truth import Level, Truth

ERRORS = CheckPolicy(check="error_rate", limit=0.05, min_samples=500)
THRESHOLD = RolloutPolicy(checks=(ERRORS,))
SCHEDULE = parse_schedule(DEFAULT_SCHEDULE)


def errors(canary: float, control: float | None = None, **more: float) -> Level:
    return Level(check="error_rate", canary=canary, control=control, **more)


def follow_rates(rates: Mapping[int, float], policy: RolloutPolicy = THRESHOLD) -> Course:
    """A rollout with 1000 requests of the version in every hour, 2 % errors but in some."""

    def see(tick: int, _percentage: float) -> dict[str, Seen]:
        return {"error_rate": Seen(Sums(total=1000 * rates.get(tick, 0.02), samples=1000))}

    return follow(SCHEDULE, policy, see)


def test_a_healthy_rollout_takes_its_stages_hours_and_completes() -> None:
    course = follow_rates({})
    assert (course.state, course.hours, course.reached) == ("completed", 50, 100)
    advances = [(turn.hour, turn.percentage) for turn in course.turns if turn.verdict == "advance"]
    assert advances == [(2, 25), (6, 50), (14, 75), (26, 100)]
    assert course.turns[-1].hour == 50


def test_a_bad_hour_ends_it_in_that_tick() -> None:
    course = follow_rates({4: 0.3})
    assert (course.state, course.hours, course.reached) == ("rolled_back", 4, 25)
    assert course.turns[-1].reason == "limit-breached"
    assert "0.16 (n=2000)" in course.message  # hours 3 and 4, nothing from the stage before


def test_an_hour_without_samples_holds_it() -> None:
    seen = {"error_rate": Seen(Sums(total=20, samples=1000))}
    course = follow(SCHEDULE, THRESHOLD, lambda tick, _: seen if tick > 5 else {})
    assert (course.state, course.hours) == ("completed", 54)
    assert course.held_ticks == 5


def test_a_rollout_that_never_learns_anything_is_left_after_the_hours_asked_for() -> None:
    course = follow(SCHEDULE, THRESHOLD, lambda _tick, _percentage: {}, most_hours=30)
    assert (course.state, course.hours, course.reached) == ("running", 30, 5)


def test_traffic_is_drawn_as_stated() -> None:
    truth = Truth(
        levels=(
            errors(0.1, 0.02),
            Level(check="latency", canary=180, control=120, deviation=60),
            Level(check="accuracy", canary=0.9),
        ),
        requests_per_hour=4_000,
    )
    see = drawn(truth, RolloutPolicy(), 0.5, np.random.default_rng(3))
    hours = [see(tick, 25) for tick in range(1, 201)]
    for check, canary, control in (
        ("error_rate", 0.1, 0.02),
        ("latency", 180, 120),
        ("accuracy", 0.9, 0.9),
    ):
        for each, mean, requests in ((0, canary, 500), (1, control, 1_500)):
            sums = [seen[check][each] or Sums() for seen in hours]
            total = Sums(*np.sum(sums, axis=0))
            assert total.samples == pytest.approx(200 * requests, rel=0.01)
            assert total.total / total.samples == pytest.approx(mean, rel=0.04)
    squares = total_of(hours, "latency")
    variance = squares.squares / squares.samples - (squares.total / squares.samples) ** 2
    assert sqrt(variance) == pytest.approx(60, rel=0.04)


def total_of(hours: list[Mapping[str, Seen]], check: str) -> Sums:
    return Sums(*np.sum([seen[check].canary for seen in hours], axis=0))


def test_an_outage_is_a_level_that_takes_over_for_some_hours() -> None:
    truth = Truth(levels=(errors(0.03), errors(0.2, from_hour=10, until_hour=12)))
    levels = [truth.level("error_rate", hour) for hour in (9.5, 10.0, 11.5, 12.0)]
    assert [level and level.canary for level in levels] == [0.03, 0.2, 0.2, 0.03]
    assert truth.level("latency", 1) is None


def test_what_drifts_ends_where_nothing_can_be_beyond() -> None:
    falling = Level(check="latency", canary=100, drift_per_hour=-60)
    see = drawn(Truth(levels=(falling,)), RolloutPolicy(), 1.0, np.random.default_rng(3))
    assert [see(tick, 50)["latency"].canary.total == 0 for tick in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def test_harm_is_what_the_version_does_and_its_control_does_not() -> None:
    def harmful(*levels: Level, has_control: bool = True) -> float | None:
        return Truth(levels=levels, has_control=has_control).harmful_from(THRESHOLD, 50)

    assert harmful(errors(0.2, 0.2)) is None
    assert harmful(errors(0.2)) == 0  # nobody said that the control suffers it, too
    assert harmful(errors(0.03), errors(0.05, from_hour=4)) == 4
    assert harmful(errors(0.049)) is None
    assert harmful(errors(0.03, 0.01)) == 0
    assert harmful(errors(0.04), errors(0.06, from_hour=7.5), has_control=False) == 7.5
    assert harmful(errors(0.03, drift_per_hour=0.001), has_control=False) == 20
    warned = ERRORS.model_copy(update={"action": "warn"})
    policy = THRESHOLD.model_copy(update={"checks": (warned,)})
    assert Truth(levels=(errors(0.3, 0.01),)).harmful_from(policy, 50) is None


def test_the_same_seed_draws_the_same_rollouts() -> None:
    assumed = Assumed(truth=Truth(levels=(errors(0.045),)), policy=THRESHOLD, runs=4)
    assert list(courses(assumed)) == list(courses(assumed))
    other = assumed.model_copy(update={"seed": 1})
    assert list(courses(assumed)) != list(courses(other))


def test_a_rollback_before_the_harm_is_false_and_one_after_it_has_a_delay() -> None:
    course = follow_rates({1: 0.9})

    def ended(state: State, hours: float) -> Course:
        return course.model_copy(update={"state": state, "hours": hours})

    back = State.ROLLED_BACK
    found = [ended(back, 4), ended(back, 13), ended(State.COMPLETED, 50)]
    late = summed_up([*found, ended(State.RUNNING, 74)], harmful_from=10)
    assert (late.rolled_back.count, late.false_rollback.count, late.unfinished.count) == (2, 1, 1)
    assert late.detection_delay is not None
    assert late.detection_delay.hours == 3
    never = summed_up(found, harmful_from=None)
    assert (never.false_rollback.count, never.detection_delay) == (2, None)


def test_figures_come_with_their_uncertainty() -> None:
    some = share(30, 120)
    assert some.standard_error == pytest.approx(sqrt(0.25 * 0.75 / 120))
    assert some.lower < 0.25 < some.upper
    assert share(0, 100).upper == pytest.approx(0.0362, abs=1e-4)
    hours = median_of([*range(1, 100)])
    assert hours is not None
    assert (hours.hours, hours.lower, hours.upper) == (50, 39, 61)
    assert median_of([]) is None


def test_the_page_tells_what_was_assumed_and_how_often_a_threshold_is_wrong() -> None:
    assumed = Assumed(truth=Truth(levels=(errors(0.03),)), policy=THRESHOLD, runs=3)
    page = Simulated(assumed=assumed, estimate=estimate(assumed), left_out=("latency",))
    text = page.as_markdown()
    assert "rolled back although it did no harm of its own" in text
    assert "from 520 samples on; min_samples is 500" in text
    assert "Nothing is known of latency" in page.summary


WEEKEND = FreezeWeekly(
    from_day="fri",
    from_time=time(12),
    to_day="mon",
    to_time=time(8),
    timezone="Europe/Berlin",
)


def frozen_by(freeze: FreezeOnce | FreezeWeekly, **more: Any) -> Assumed:
    policy = THRESHOLD.model_copy(update={"freezes": (freeze,)})
    truth = Truth(levels=(errors(0.001),), requests_per_hour=20_000)
    return Assumed(truth=truth, policy=policy, runs=3, **more)


def test_a_freeze_holds_it_and_is_told() -> None:
    """From a Thursday midnight the bake ends on Saturday at 2; the freeze on Monday at 7 UTC."""
    assumed = frozen_by(WEEKEND)
    found = estimate(assumed)
    assert (found.completed.share, found.completion and found.completion.hours) == (1, 103)
    assert found.frozen is not None
    assert (found.frozen.hours, found.frozen.runs) == (53, 3)
    assert assumed.horizon == 103 + 24
    said = Simulated(assumed=assumed, estimate=found).summary
    assert "each from Thu 2026-01-01 00:00 UTC on" in said
    assert "fri 12:00 to mon 08:00 (Europe/Berlin)) held 3 of 3 runs, for 53 h" in said
    monday = estimate(frozen_by(WEEKEND, starts_at=datetime(2026, 1, 5, 9, tzinfo=UTC)))
    assert (monday.completion and monday.completion.hours, monday.frozen) == (50, None)


def test_a_freeze_that_the_start_lies_in_is_told_and_one_without_end_ends() -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    assumed = frozen_by(FreezeOnce(since=begun, until=begun.replace(year=2099)))
    assert assumed.horizon == 10_000
    short = assumed.model_copy(update={"most_hours": 20.0})
    said = Simulated(assumed=short, estimate=estimate(short)).summary
    assert "It starts within a freeze" in said
    assert "held 3 of 3 runs, for 19 h" in said


def test_a_control_of_which_nothing_is_said_is_told_to_be_alike() -> None:
    assumed = Assumed(truth=Truth(levels=(errors(1.0),)), policy=THRESHOLD, runs=3)
    said = Simulated(assumed=assumed, estimate=estimate(assumed)).summary
    assert "rolled back although it did no harm of its own: 0 %" in said
    assert "The control is taken to be alike: error_rate." in said
    stated = Assumed(truth=Truth(levels=(errors(0.02, 0.02),)), policy=THRESHOLD, runs=1)
    assert "alike" not in Simulated(assumed=stated, estimate=estimate(stated)).summary


# The full form, up to 1,000 rollouts a row, is `python -m benchmarks.rollouts`.
QUICK = {
    "3.0%, and the control alike": 25,
    "4.5%, and the control alike": 25,
    "4.5%, no control": 20,
    "6.0% of both: a shared outage": 20,
    "10%, control 3%": 100,
    "20%, control 3%": 100,
    "20%, no control": 100,
}
_PROMISED = [row for row in rows() if row.guard == "sequential" and row.name in QUICK]


@pytest.mark.parametrize("row", _PROMISED, ids=lambda row: row.name)
def test_the_sequential_guard_keeps_what_it_promises(row: Row) -> None:
    found = estimate(row.assumed(QUICK[row.name]))
    assert row.is_kept(found, deviations=3), document(row, found)


@pytest.mark.parametrize("rate", [0.03, 0.04])
def test_a_bare_hourly_threshold_is_as_often_wrong_as_its_hours_say(rate: float) -> None:
    """The share of draws, made all at once, in which some hour reaches 5 %."""
    rng = np.random.default_rng(8)
    shares = np.repeat([each.percentage for each in SCHEDULE.stages], [2, 4, 8, 12, 24]) / 100
    requests = rng.poisson(2_000 * shares, (4_000, shares.size))
    expected = (rng.binomial(requests, rate) >= 0.05 * requests).any(axis=1).mean()
    [row] = [
        row for row in rows() if "last hour" in row.guard and row.name.startswith(f"{rate:.1%}")
    ]
    runs = 40
    found = estimate(row.assumed(runs, SEED)).false_rollback.share
    assert found == pytest.approx(expected, abs=3 * sqrt(expected * (1 - expected) / runs))
