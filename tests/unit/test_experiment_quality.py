"""The quality checks as pure rules: what they let pass, and how often they are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from scipy import stats

from benchmarks.srm import FALSE_ALARMS, FOUND, Traffic, alarms
from tasks.errors import UnknownName
from tasks.experiments.quality import checks
from tasks.experiments.quality.checks.freshness import freshness, metric_freshness
from tasks.experiments.quality.facts import (
    Arm,
    Arrival,
    Count,
    EpochCounts,
    ExperimentFacts,
    Metric,
    NotGathered,
    Sampled,
    Share,
)
from tasks.experiments.quality.model import QualityCheck, SuiteFindings, closing
from tasks.experiments.quality.ratio import Split
from tasks.experiments.quality.registry import passed, quality_checks, run_check
from tasks.experiments.quality.suites import sort_findings
from tasks.validation import ExpectationOutcome, Outcome, ValidationSummary

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARMS = ("control", "red")


def metric(**changes: Any) -> Metric:
    fields: dict[str, Any] = {
        "name": "spend",
        "role": "primary",
        "event_type": "buy",
        "missing": "exclude",
        "has_covariate": False,
        "is_aggregated": False,
    }
    return Metric(**(fields | changes))


def count(arm: str, **changes: Any) -> Count:
    """A thousand units, of which a tenth have an event."""
    fields: dict[str, Any] = {
        "metric": "spend",
        "dimension": "",
        "level": "",
        "assigned": 1000,
        "events": 100,
        "converted": 100,
        "n": 100,
        "covariate_mean": 0.0,
        "covariate_m2": 0.0,
    }
    return Count(arm=arm, **(fields | changes))


def facts(**changes: Any) -> ExperimentFacts:
    fields: dict[str, Any] = {
        "experiment_id": UUID(int=1),
        "experiment": "buttons",
        "status": "active",
        "started_at": NOW - timedelta(days=10),
        "now": NOW,
        "variants": tuple(Arm(name=name, is_control=name == "control") for name in ARMS),
        "shares": tuple(Share(arm=name, epochs=(1,), weights=(0.5,)) for name in ARMS),
        "metrics": (metric(),),
        "counts": tuple(count(name) for name in ARMS),
    }
    return ExperimentFacts(**(fields | changes))


def arrival(hours_ago: float, event_type: str = "buy", usual_hours: float = 0.0) -> Arrival:
    return Arrival(
        event_type=event_type,
        last_at=NOW - timedelta(hours=hours_ago),
        usual_seconds=usual_hours * 3600,
    )


# -- the split ----------------------------------------------------------------


def test_one_epoch_is_the_chi_square_test_of_the_weights() -> None:
    split = Split(counts=((5200, 2400, 2300),), weights=((2, 1, 1),))
    expected = stats.chisquare([5200, 2400, 2300], [4950, 2475, 2475]).pvalue
    assert split.fixed_p_value() == pytest.approx(expected)
    assert split.expected == [4950, 2475, 2475]


def test_few_expected_units_are_tested_by_the_binomial_itself() -> None:
    split = Split(counts=((986, 14),), weights=((0.995, 0.005),))
    exact = 2 * stats.binom.sf(13, 1000, 0.005)
    assert split.fixed_p_value() == pytest.approx(exact)
    assert exact > 10 * stats.chisquare([986, 14], [995, 5]).pvalue


def test_epochs_are_each_held_to_their_own_split() -> None:
    grown = Split(counts=((900, 100), (500, 500)), weights=((0.9, 0.1), (0.5, 0.5)))
    assert grown.fixed_p_value() == pytest.approx(1.0)
    assert grown.sequential_p_value() == 1.0
    wrong = Split(counts=((500, 500), (900, 100)), weights=((0.9, 0.1), (0.5, 0.5)))
    assert wrong.expected == [1400, 600]
    assert wrong.sequential_p_value() < 1e-9  # type: ignore[operator]


def test_with_several_epochs_the_p_value_is_as_often_small_as_it_says() -> None:
    rng, runs = np.random.default_rng(4), 1500
    plan = ((2000, (0.8, 0.1, 0.1)), (3000, (0.2, 0.4, 0.4)), (1000, (0.5, 0.5, 0.0)))
    drawn = [rng.multinomial(units, weights, size=runs) for units, weights in plan]
    weights = tuple(weights for _, weights in plan)
    p_values = [
        Split(tuple(tuple(map(int, epoch[run])) for epoch in drawn), weights).fixed_p_value()
        for run in range(runs)
    ]
    assert stats.kstest(np.array(p_values, dtype=float), "uniform").pvalue > 0.001


def test_where_no_epoch_has_two_arms_there_is_no_split_to_test() -> None:
    assert Split(((100, 0),), ((1, 0),)).fixed_p_value() is None
    assert Split(((400, 0), (0, 400)), ((1, 0), (0, 1))).fixed_p_value() is None
    assert Split(((0, 0),), ((1, 1),)).sequential_p_value() is None


def test_a_covariate_that_moves_with_the_split_is_no_imbalance() -> None:
    """Red got nine of ten units of the second epoch, when other users came."""
    shares = tuple(
        Share(arm=name, epochs=(1, 2), weights=weights)
        for name, weights in zip(ARMS, ((0.5, 0.1), (0.5, 0.9)), strict=True)
    )

    def counted(gap: float) -> dict[str, Any]:
        cells = [("control", (500, 100), (5.0, 9.0)), ("red", (500, 900), (5.0 + gap, 9.0 + gap))]
        by_epoch = [
            EpochCounts(arm=arm, epochs=(1, 2), assigned=n, n=n, covariate_mean=means,
                        covariate_m2=tuple(4.0 * units for units in n))
            for arm, n, means in cells
        ]  # fmt: skip
        whole = [
            count("control", assigned=600, n=600, covariate_mean=5.67, covariate_m2=3700.0),
            count("red", assigned=1400, n=1400, covariate_mean=7.57 + gap, covariate_m2=10900.0),
        ]
        return {"counts": tuple(whole), "epoch_counts": tuple(by_epoch)}

    metrics = (metric(has_covariate=True),)
    fine = run_check("imbalance", facts(shares=shares, metrics=metrics, **counted(0.0)))
    off = run_check("imbalance", facts(shares=shares, metrics=metrics, **counted(0.8)))
    assert (fine.outcome, off.outcome) == ("passed", "failed")


def test_units_of_a_closed_arm_are_no_chance_but_a_failure() -> None:
    shares = (
        Share(arm="control", epochs=(1,), weights=(1,)),
        Share(arm="red", epochs=(1,), weights=(0,)),
    )
    found = facts(shares=shares)
    assert run_check("closed-arm", found).outcome == "failed"
    assert run_check("srm", found).outcome == "passed"


def test_hourly_looks_alarm_in_less_than_half_a_percent_of_sound_experiments() -> None:
    found = alarms(Traffic(levels=(0.6, 0.4)), 1000, seed=7)
    assert found.any <= FALSE_ALARMS + 2 * found.standard_error


def test_a_split_of_51_to_49_is_found_by_100_000_units() -> None:
    skewed = Traffic(actual=0.51, units_an_hour=297, levels=(1.0,))
    for check in ("srm", "srm-sequential"):
        assert alarms(skewed, 200, (check,), seed=7).any >= FOUND


# -- freshness ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours_ago", "usual_hours", "events", "outcome"),
    [
        (23.9, 0, 100, "passed"),
        (24.1, 0, 100, "failed"),
        (40, 30, 100, "passed"),  # one and a half times the usual 30 h
        (46, 30, 100, "failed"),
        (100, 0, 5, "passed"),  # one event in two days: a week of silence is chance
        (10 * 24, 0, 1, "failed"),  # one event shows no rhythm
    ],
)
def test_how_long_may_be_silent_follows_the_experiments_own_rhythm(
    hours_ago: float, usual_hours: float, events: int, outcome: str
) -> None:
    counts = (count("control", events=events), count("red", events=0))
    found = facts(arrivals=(arrival(hours_ago, usual_hours=usual_hours),), counts=counts)
    assert freshness(found).outcome == outcome


def test_one_metric_may_lag_behind_the_others_only_so_far() -> None:
    both = (metric(), metric(name="crashes", role="guardrail", event_type="crash"))
    counts = tuple(count(arm, metric=m.name) for arm in ARMS for m in both)
    late = facts(metrics=both, counts=counts, arrivals=(arrival(1), arrival(30, "crash")))
    assert metric_freshness(late).outcome == "failed"
    # Where all is late none lags: that is for the other check.
    stale = facts(metrics=both, counts=counts, arrivals=(arrival(29), arrival(30, "crash")))
    assert (metric_freshness(stale).outcome, freshness(stale).outcome) == ("passed", "failed")
    asides = (metric(), metric(name="crashes", role="secondary", event_type="crash"))
    aside = late.model_copy(update={"metrics": asides})
    assert metric_freshness(aside).outcome == "passed"


# -- units and events ---------------------------------------------------------


@pytest.mark.parametrize(("mean", "outcome"), [(5.0, "passed"), (6.0, "failed")])
def test_constants_before_the_assignment_are_equal_or_not(mean: float, outcome: str) -> None:
    counts = (count("control", covariate_mean=5.0), count("red", covariate_mean=mean))
    found = facts(metrics=(metric(has_covariate=True),), counts=counts)
    assert run_check("imbalance", found).outcome == outcome


@pytest.mark.parametrize(
    ("repeated", "is_rounded", "outcome"),
    [(4, False, "passed"), (5, False, "passed"), (6, False, "failed"), (6, True, "unknown")],
)
def test_repeated_rows_fail_unless_rounded_times_could_explain_them(
    repeated: int, is_rounded: bool, outcome: str
) -> None:
    sampled = Sampled(
        event_type="buy",
        rows=100,
        repeated=repeated,
        units=50,
        strayed_units=0,
        is_rounded=is_rounded,
    )
    assert run_check("fan-out", facts(sampled=(sampled,))).outcome == outcome


# -- the suites ---------------------------------------------------------------


def outcome(reason: str, **changes: Any) -> ExpectationOutcome:
    fields = {
        "expectation": "unexpected_rows_expectation",
        "column": None,
        "outcome": Outcome.FAILED,
        "severity": "critical",
        "owner": "experiments",
        "reason": reason,
    }
    return ExpectationOutcome.model_validate(fields | changes)


def test_findings_are_sorted_by_whom_they_concern() -> None:
    found = (
        outcome("a bucket lies in [0, 1)", owners=("e1", "e2")),
        outcome("a unit has an id", owners=("e1",)),
        outcome("a unit sees one variant"),
        outcome("nobody is assigned in the future", severity="warning", owners=("e1",)),
        outcome("a unit is a person", outcome=Outcome.COULD_NOT_BE_CHECKED),
        outcome("all is well", outcome=Outcome.PASSED),
    )
    summary = ValidationSummary(suite="s", table="t", outcome=Outcome.FAILED, expectations=found)
    assert sort_findings([summary]) == SuiteFindings(
        failed=("t: a unit sees one variant",),
        unknown=("t: a unit is a person",),
        failed_in={
            "e1": ("t: a bucket lies in [0, 1)", "t: a unit has an id"),
            "e2": ("t: a bucket lies in [0, 1)",),
        },
    )


# -- the registry -------------------------------------------------------------


@pytest.fixture
def broken() -> Iterator[str]:
    """A check of another package that raises."""

    @quality_checks.register("broken")
    def check(found: ExperimentFacts) -> QualityCheck:
        raise RuntimeError("no luck")

    yield "broken"
    del quality_checks._items["broken"]


def test_a_check_that_raises_is_unknown(broken: str) -> None:
    check = run_check(broken, facts())
    assert (check.outcome, check.message) == (
        "unknown",
        "the check could not be made: RuntimeError: no luck",
    )


def test_what_was_not_gathered_is_unknown_with_its_reason() -> None:
    check = run_check("srm", facts(counts=NotGathered(reason="counts could not be read")))
    assert (check.name, check.outcome, check.message) == (
        "srm",
        "unknown",
        "counts could not be read",
    )


def test_an_unknown_check_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"srm.*known: .*closed-arm"):
        quality_checks.get("srmm")
    assert (
        " ".join(checks.__all__)
        == "aggregates calibration events freshness missing tables traffic units"
    )


def test_every_check_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs/experiments.md").read_text("utf-8")
    assert [name for name in quality_checks.names() if f"| `{name}` |" not in page] == []


def test_failures_close_the_gate_before_what_cannot_be_told() -> None:
    listed = [
        QualityCheck(name="a", outcome="unknown"),
        QualityCheck(name="b", outcome="failed"),
        passed("a warning").model_copy(update={"name": "c"}),
    ]
    assert [check.name for check in closing(listed)] == ["b", "a"]
