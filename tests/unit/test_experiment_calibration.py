"""Calibration as a pure rule, and the arms that it draws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tasks.experiments.calibration.cells import Cells, Counts
from tasks.experiments.calibration.drawing import draw_arms
from tasks.experiments.calibration.judging import CalibrationEvidence, judge_calibration
from tasks.experiments.calibration.measuring import Terms, promised_alpha, tally
from tasks.experiments.decision.automation import is_automatic, withheld
from tasks.experiments.decision.ending import ending_of
from tasks.experiments.decision.evidence import Terms as MethodTerms
from tasks.experiments.decision.futility import Futility
from tasks.experiments.decision.standing import stand
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.checks.calibration import judge_calibrations
from tasks.experiments.quality.facts import Calibrated
from tasks.experiments.quality.model import QualityCheck
from tests.unit.decisions import PASSED, arm, evidence

SOUND: dict[str, Any] = {
    "experiment": "buttons",
    "metric": "spend",
    "role": "primary",
    "kind": "mean",
    "method": "group_sequential",
    "alpha": 0.05,
    "units": 20_000,
    "unlike": 5_000,
    "share": 0.5,
    "draws": 10_000,
    "seed": 1,
    "tested": 10_000,
    "false_positives": 500,
    "intervals": 10_000,
    "covered": 9_500,
    "series": 1_000,
    "looks": 10,
    "method_alpha": 0.05,
    "method_found": 50,
    "srm_alarms": 2,
}


def judged(**changes: Any) -> tuple[str, list[str]]:
    verdict = judge_calibration(CalibrationEvidence(**(SOUND | changes)))
    return verdict.verdict, [reason.code for reason in verdict.reasons]


def terms(method: str = "group_sequential") -> Terms:
    """A rate in two equal arms."""
    return Terms(
        kind="proportion",
        alpha=0.05,
        is_higher_better=True,
        second_value=None,
        share=0.5,
        method=MethodTerms(alpha=0.05, planned_units=2_000, method=method),
    )


def test_what_errs_as_often_as_it_says_keeps_its_promise() -> None:
    assert judged() == ("kept", ["kept"])
    # Three standard errors of 10,000 draws are 0.65 %, of 1,000 series 2.07 %.
    assert judged(false_positives=565, method_found=70)[0] == "kept"
    assert judged(false_positives=300, covered=9_650)[0] == "kept"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"false_positives": 566}, "false-positives"),
        ({"covered": 9_328}, "coverage-low"),
        ({"covered": 9_660}, "coverage-high"),
        ({"method_found": 71}, "method-error"),
        ({"srm_alarms": 12}, "srm-alarms"),
    ],
)
def test_what_errs_by_more_than_three_standard_errors_is_broken(
    changes: dict[str, int], code: str
) -> None:
    assert judged(**changes) == ("broken", [code])


def test_every_broken_promise_is_told() -> None:
    found = judged(false_positives=900, covered=9_100, method_found=90, srm_alarms=40)
    codes = ["false-positives", "coverage-low", "method-error", "srm-alarms"]
    assert found == ("broken", codes)


def test_another_alpha_is_another_promise() -> None:
    tenth = {"alpha": 0.1, "method_alpha": 0.1, "false_positives": 1_000, "method_found": 100}
    assert judged(**tenth, covered=9_000)[0] == "kept"
    assert judged(**tenth, covered=8_700)[1] == ["coverage-low"]


def test_a_method_that_promises_no_error_breaks_none() -> None:
    assert judged(method="bayesian", method_alpha=None, method_found=400)[0] == "kept"
    assert promised_alpha(terms()) == promised_alpha(terms("fixed")) == 0.05
    assert promised_alpha(terms("bayesian")) is None
    assert promised_alpha(replace(terms(), is_primary=False)) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"problem": "it is a quantile"}, "not-drawn"),
        ({"unlike": 29.5}, "too-few-units"),
        ({"draws": 999, "false_positives": 999}, "too-few-draws"),
        ({"tested": 0, "false_positives": 0}, "undefined"),
        ({"intervals": 0, "covered": 0}, "undefined"),
    ],
)
def test_what_cannot_be_told_is_unknown(changes: dict[str, Any], code: str) -> None:
    assert judged(**changes) == ("unknown", [code])


# Drawing ----------------------------------------------------------------------------------------


def cells_of_rates(looks: int, units: int, successes: int) -> Cells:
    """Each look has so many units, and so many of them have 1."""
    look = np.repeat(np.arange(looks), 2)
    counts = np.tile([units - successes, successes], looks)
    nothing = np.zeros(2 * looks)
    held = Counts(look, counts, np.ones(2 * looks, bool), np.zeros(2 * looks, bool))
    mean = np.tile([0.0, 1.0], looks)
    return Cells(looks, looks * (units - successes), held, mean, nothing, *[nothing] * 3)


def test_two_arms_are_all_units_and_each_gets_its_share() -> None:
    cells = cells_of_rates(looks=4, units=500, successes=100)
    arms = list(draw_arms(cells, 0.2, 2_000, seed=3))
    treatment = np.concatenate([drawn.sums for _, drawn in arms])
    control = np.concatenate([drawn.sums for drawn, _ in arms])
    whole = treatment + control
    assert np.ptp(whole, axis=0).max() < 1e-9
    assert whole[0, :, 0].tolist() == [500, 1000, 1500, 2000]
    # As each unit by itself: 2000 x 0.2 units with variance 2000 x 0.2 x 0.8.
    units = treatment[:, -1, 0]
    assert abs(units.mean() - 400) < 3 * np.sqrt(320 / 2_000)
    assert units.var(ddof=1) == pytest.approx(320, rel=3 * np.sqrt(2 / 2_000))
    _, first = arms[0]
    assert first.values(0, -1, None).value.n == round(treatment[0, -1, 0])
    assert first.units(0) == [round(x) for x in treatment[0, :, 0]]


def test_the_same_seed_draws_the_same_arms() -> None:
    cells = cells_of_rates(looks=4, units=500, successes=100)
    first, again, other = (tally(cells, terms(), 400, seed) for seed in (5, 5, 6))
    assert first == again != other
    assert first.series == 40


# Automation -------------------------------------------------------------------------------------

BROKEN = QualityCheck(
    name="calibration", outcome="passed", message="spend broke its promise", figures={"broken": 1}
)


def test_a_bandit_is_told_that_its_split_stays_and_how_to_free_it() -> None:
    found = Calibrated(
        metric="spend",
        verdict="broken",
        calibrated_at=datetime(2026, 1, 2, tzinfo=UTC),
        reason="it finds 9 % of nothing",
    )
    check = judge_calibrations("buttons", [found], is_bandit=True)
    assert "Until a calibration is kept its split stays as it is" in check.message
    assert "`headway experiment edit buttons --weight ARM=SHARE`" in check.message
    assert "split stays" not in judge_calibrations("buttons", [found]).message


def test_a_winner_by_a_broken_metric_is_named_and_nothing_is_done() -> None:
    sound = evidence(arm("red", 53.0))
    broken = sound.model_copy(update={"checks": (PASSED, BROKEN)})
    assert is_automatic(sound)
    assert not is_automatic(broken)
    first, then = decide_winner(sound), decide_winner(broken)
    assert first.details["winner"] == then.details["winner"] == "red"
    assert [reason.code for reason in then.reasons] == ["significant", "calibration-broken"]
    quiet = Futility()
    assert ending_of(stand(sound), quiet) == "winner"
    assert ending_of(stand(broken), quiet) != "winner"


def test_who_only_recommends_anyway_is_not_told_so_twice() -> None:
    sound = evidence(arm("red", 53.0))
    plan = sound.plan.model_copy(update={"policy": "recommend"})
    asked = sound.model_copy(update={"checks": (PASSED, BROKEN), "plan": plan})
    assert withheld(asked) is None
    assert not is_automatic(asked)
