"""What a verdict says of each metric, beside what it decides."""

from __future__ import annotations

from typing import Any

import pytest

from flows.commands.output import rendered
from tasks.experiments.decision.evidence import Arm, Pair
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.reporting.look import look_of
from tasks.experiments.reporting.look_page import metric_parts
from tests.unit.decisions import CONTROL, arm, evidence, guardrail, measured, rate

RED = arm("red", 51.0)


def _clicks(name: str, clicks: float, views: float) -> Arm:
    """A ratio's arm: clicks by views, a thousand units."""
    views_pair = Pair(mean=views, m2=900.0, c2=100.0)
    return arm(name, clicks, m2=800.0, denominator=views_pair)


def _metric(name: str, **beside: Any) -> dict[str, Any]:
    """The figures of one metric in the verdict."""
    details = decide_winner(evidence(RED, **beside)).details
    return next(each for each in details["metrics"] if each["name"] == name)


def test_every_arm_of_a_ratio_says_its_ratio_not_its_numerator() -> None:
    ratio = measured(
        _clicks("red", 1.2, 4.0),
        control=_clicks("control", 1.0, 4.0),
        name="ctr",
        role="secondary",
        kind="ratio",
    )
    verdict = decide_winner(evidence(RED, secondaries=(ratio,)))
    shown = look_of(verdict, "spend", "mean").metrics[1]
    assert [shown.control and shown.control.value, shown.arms[0].value] == [0.25, 0.3]
    (row,) = (line for line in metric_parts(shown)[-1].splitlines() if line.startswith("| red "))
    assert row.split(" | ")[3] == "0.3"


def test_each_metric_has_its_effect_size() -> None:
    clicked = guardrail(
        rate("red", 300, 1000), control=rate("control", 250, 1000), kind="proportion"
    )
    beside = measured(arm("red", 52.0), name="visits", role="secondary")
    found = {"guardrails": (clicked,), "secondaries": (beside,)}
    # A standard deviation of 10 over n, by hand: 1 / (10 √(1000/999)) (1 - 3 / 7991).
    assert _metric("spend", **found)["arms"][0]["effect_size"] == pytest.approx(0.0999124, abs=1e-6)
    assert _metric("visits", **found)["arms"][0]["effect_size"] == pytest.approx(0.199825, abs=1e-6)
    # 2 asin √0.3 - 2 asin √0.25
    assert _metric("speed", **found)["arms"][0]["effect_size"] == pytest.approx(0.112082, abs=1e-6)


def test_a_covariate_takes_no_effect_size_away() -> None:
    before = Pair(mean=5.0, m2=100_000.0, c2=50_000.0)
    red, control = (RED.model_copy(update={"covariate": before}), CONTROL.model_copy())
    control = control.model_copy(update={"covariate": before})
    adjusted = decide_winner(evidence(red, control=control)).details["metrics"][0]["arms"][0]
    plain = decide_winner(evidence(RED)).details["metrics"][0]["arms"][0]
    assert adjusted["effect_size"] == plain["effect_size"]
    assert adjusted["standard_error"] < plain["standard_error"]


def test_a_terminal_gets_the_words_of_a_picture_not_its_bytes() -> None:
    page = "## Metric\n\n![red +1 (0 to 2)](data:image/svg+xml;base64,PHN2Zz4=)\n\n| a |\n| --- |\n"
    shown = rendered(page)
    assert "red +1 (0 to 2)" in shown
    assert "base64" not in shown
