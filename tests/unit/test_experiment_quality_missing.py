"""An arm without events: when it is a fault, and when it is only a bad arm."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks.experiments.quality.facts import Arm, Share
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.quality.registry import run_check
from tests.unit.test_experiment_quality import ARMS, NOW, count, facts, metric

OFF = (
    Share(arm="control", epochs=(1, 2), weights=(0.5, 1.0)),
    Share(arm="red", epochs=(1, 2), weights=(0.5, 0.0)),
)
NOTHING = {"converted": 0, "events": 0, "mean": 0.0}


def test_an_arm_without_events_is_missing_where_chance_would_have_given_it_some() -> None:
    rare = (count("control", converted=3), count("red", converted=0))
    lucky = run_check("missing-metric", facts(counts=rare))
    assert (lucky.outcome, lucky.message) == ("passed", "spend: red has no event 'buy' yet")
    missing = run_check("missing-metric", facts(counts=(count("control"), rare[1])))
    assert missing.outcome == "failed"
    # Nobody's window is over yet, so nobody could have come back.
    early = tuple(count(arm, converted=0, n=0) for arm in ARMS)
    retention = facts(metrics=(metric(missing="zero"),), counts=early)
    assert run_check("missing-metric", retention).outcome == "unknown"


def test_nobody_assigned_is_unknown_for_a_day_and_then_fails() -> None:
    empty = tuple(count(arm, assigned=0, converted=0, n=0) for arm in ARMS)
    found = facts(counts=empty)
    assert run_check("missing-metric", found).outcome == "failed"
    young = found.model_copy(update={"started_at": NOW - timedelta(hours=3)})
    assert run_check("missing-metric", young).outcome == "unknown"


def judged(
    barren: str = "red", opened: int = 400, barren_opened: int = 0, **changes: Any
) -> QualityCheck:
    """A tenth of a thousand units buy, none of the barren arm; so many open the page."""
    better = changes.pop("is_higher_better", True)
    measured = metric(missing="zero", is_higher_better=better)
    looked = metric(name="opened", event_type="open", missing="zero", role="secondary")
    counts = []
    for arm in ARMS:
        buys = {"n": 1000, "mean": 0.1} | (NOTHING if arm == barren else {})
        opens = barren_opened if arm == barren else opened
        counts += [
            count(arm, **buys),
            count(arm, metric="opened", n=1000, converted=opens, mean=opens / 1000),
        ]
    told = facts(metrics=(measured, looked), counts=tuple(counts), **changes)
    return run_check("missing-metric", told)


def test_an_arm_that_nothing_is_heard_of_fails_and_the_message_says_what_a_person_may_do() -> None:
    found = judged()
    assert found.outcome == "failed"
    assert "spend: red has no event 'buy' though others do, which is no chance" in found.message
    assert "switch that arm off (its weight 0), or choose by hand" in found.message
    assert "`headway experiment select-winner buttons --variant ARM --force`" in found.message


@pytest.mark.parametrize(("heard", "outcome"), [(400, "passed"), (200, "passed"), (199, "failed")])
def test_an_arm_whose_units_send_other_events_is_only_a_bad_one(heard: int, outcome: str) -> None:
    found = judged(barren_opened=heard)
    assert found.outcome == outcome
    said = "holds up nobody: its units send other events"
    assert (said in found.message) == (outcome == "passed")


def test_an_event_that_a_person_sent_who_tried_things_out_is_not_heard() -> None:
    assert judged(opened=2, barren_opened=2).outcome == "failed"


@pytest.mark.parametrize(
    ("barren", "is_higher_better", "outcome"),
    [
        ("red", True, "passed"),
        ("red", False, "failed"),  # it would win by what may be lost
        ("control", True, "failed"),  # everybody would win against it
        ("control", False, "passed"),
    ],
)
def test_what_a_winner_could_rest_on_is_a_fault(
    barren: str, is_higher_better: bool, outcome: str
) -> None:
    found = judged(barren, barren_opened=400, is_higher_better=is_higher_better)
    assert found.outcome == outcome


def test_values_below_nothing_turn_what_nothing_speaks_for() -> None:
    lost = (count("control", n=1000, mean=-3.0), count("red", n=1000, **NOTHING))
    refunds = facts(metrics=(metric(missing="zero"),), counts=lost, is_bandit=True)
    assert run_check("missing-metric", refunds).outcome == "failed"


def test_a_bandit_turns_from_an_arm_by_itself_but_never_from_its_control() -> None:
    assert judged(is_bandit=True).message.endswith("nobody: a bandit gives its traffic to others")
    assert judged(is_bandit=True, is_higher_better=False).outcome == "failed"
    assert judged("control", is_bandit=True).outcome == "failed"


def test_the_figures_say_whether_traffic_would_follow_what_is_missing() -> None:
    crash = metric(name="crashed", event_type="crash", missing="zero", role="guardrail")
    spend = metric(missing="zero")
    calm = [count(arm, metric="crashed", n=1000, **NOTHING) for arm in ARMS]

    def found(spent: tuple[Any, Any]) -> QualityCheck:
        return run_check("missing-metric", facts(metrics=(crash, spend), counts=(*calm, *spent)))

    alone = found((count("control", n=1000, mean=0.1), count("red", n=1000, mean=0.1)))
    assert (alone.outcome, alone.figures) == ("failed", {"metrics": 1})
    both = found((count("control", n=1000, **NOTHING), count("red", n=1000, **NOTHING)))
    assert (both.outcome, both.figures) == ("failed", {"metrics": 2, "primary": 1})
    assert both.message.startswith("spend: none of 2000 units")
    lower = judged(is_bandit=True, is_higher_better=False)
    assert (lower.outcome, lower.figures) == ("failed", {"metrics": 1, "primary": 1})
    # Nobody wins against a control that may be lost, but traffic turns from it by itself.
    control = judged("control", is_bandit=True)
    assert (control.outcome, control.figures) == ("failed", {"metrics": 1})


def test_an_arm_that_is_switched_off_holds_up_nobody_unless_all_are_compared_with_it() -> None:
    found = judged(shares=OFF, is_higher_better=False)
    assert (found.outcome, "it is switched off" in found.message) == ("passed", True)
    back = (*OFF, *(Share(arm=arm, epochs=(3,), weights=(0.5,)) for arm in ARMS))
    assert judged(shares=back).outcome == "failed"
    control_off = [
        each.model_copy(update={"arm": {"control": "red", "red": "control"}[each.arm]})
        for each in OFF
    ]
    assert judged("control", shares=tuple(control_off)).outcome == "failed"


def test_an_arm_that_is_switched_off_needs_no_covariate() -> None:
    measured = metric(missing="zero", has_covariate=True)
    arms = (*ARMS, "blue")
    variants = tuple(Arm(name=name, is_control=name == "control") for name in arms)
    counts = tuple(count(arm, covariate_m2=9.0) for arm in ARMS)
    counts += (count("blue", assigned=1, n=1, events=0, converted=0),)

    def imbalance(weight: float) -> str:
        blue = Share(arm="blue", epochs=(2,), weights=(weight,))
        told = {"metrics": (measured,), "variants": variants, "counts": counts}
        return run_check("imbalance", facts(**told, shares=(*OFF, blue))).outcome

    assert [imbalance(0.0), imbalance(0.3)] == ["passed", "unknown"]
    alone = facts(metrics=(measured,), counts=(counts[0], count("red", n=0)), shares=OFF)
    assert run_check("imbalance", alone).outcome == "passed"
