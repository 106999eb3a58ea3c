"""What the checks say of an experiment's first days."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.experiments.quality.facts import Share
from tasks.experiments.quality.registry import run_check
from tests.unit.test_experiment_quality import ARMS, NOW, count, facts, metric

OPEN = {"converted": 0, "events": 0, "n": 0}
SOON = NOW + timedelta(hours=5)
WAITS = f"the windows of 2000 units are still open, the first until {SOON:%Y-%m-%d %H:%M} UTC"


@pytest.mark.parametrize("missing", ["exclude", "zero"])
@pytest.mark.parametrize(
    ("role", "outcome"), [("primary", "unknown"), ("guardrail", "unknown"), ("secondary", "passed")]
)
def test_no_event_is_missed_while_every_window_is_open(
    missing: str, role: str, outcome: str
) -> None:
    open_arms = tuple(
        count(arm, **OPEN, windows_open=1000, closes_at=SOON + timedelta(hours=number))
        for number, arm in enumerate(ARMS)
    )
    measured = metric(missing=missing, role=role)
    check = run_check("missing-metric", facts(metrics=(measured,), counts=open_arms))
    assert (check.outcome, check.message) == (outcome, f"spend: {WAITS}")


def test_once_a_hundred_windows_are_over_without_an_event_it_is_missed() -> None:
    def judged(closed: int) -> tuple[str, str]:
        some = {"windows_open": 1000 - closed, "closes_at": SOON}
        check = run_check("missing-metric", facts(counts=[count(a, **OPEN, **some) for a in ARMS]))
        return check.outcome, check.message

    assert judged(50)[0] == "failed"
    outcome, message = judged(49)
    assert outcome == "unknown"
    assert message.startswith("spend: none of 98 units has an event 'buy' yet; the windows of 1902")


def test_an_arm_whose_windows_are_all_open_is_not_taken_for_one_that_is_not_measured() -> None:
    red = count("red", **OPEN, windows_open=1000, closes_at=SOON)
    assert run_check("missing-metric", facts(counts=(count("control"), red))).outcome == "passed"


@pytest.mark.parametrize("check", ["srm", "srm-sequential", "closed-arm"])
def test_a_changed_split_without_any_unit_waits_for_units(check: str) -> None:
    shares = tuple(
        Share(arm=arm, epochs=(1, 2), weights=weights)
        for arm, weights in zip(ARMS, ((0.5, 0.2), (0.5, 0.8)), strict=True)
    )
    nobody = tuple(count(arm, **OPEN, assigned=0) for arm in ARMS)
    found = run_check(check, facts(shares=shares, counts=nobody))
    assert (found.outcome, found.message) == ("unknown", "no unit is assigned yet")
    some = run_check(check, facts(shares=shares))
    assert "which units came before and after is not known" in some.message
