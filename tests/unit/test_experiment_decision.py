from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks import jsonb
from tasks.decisions import Verdict
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.decision.evidence import Arm, Look, Quality, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.reporting.report import as_markdown

SD = 10.0


def _arm(name: str, mean: float, n: int = 1000, **changes: Any) -> Arm:
    fields = {"name": name, "weight": 1 / 3, "assigned": n, "n": n, "mean": mean, "m2": SD**2 * n}
    return Arm(**{**fields, **changes})


def _evidence(*treatments: Arm, **changes: Any) -> WinnerEvidence:
    fields: dict[str, Any] = {
        "experiment": "buttons",
        "metric": "spend",
        "kind": "mean",
        "is_higher_better": True,
        "alpha": 0.05,
        "planned_units": 6000,
        "minimum_per_arm": 100,
        "control": _arm("control", 50.0),
        "treatments": treatments,
        "quality": Quality(outcome="passed"),
    }
    return WinnerEvidence(**{**fields, **changes})


def _code(verdict: Verdict) -> str:
    return verdict.reasons[0].code


def _outcomes(verdict: Verdict) -> dict[str, str]:
    return {arm["name"]: arm["outcome"] for arm in verdict.details["arms"]}


def test_the_one_arm_that_is_significantly_better_wins() -> None:
    verdict = decide_winner(_evidence(_arm("red", 52.5), _arm("blue", 50.3)))
    assert (verdict.verdict, verdict.details["winner"]) == ("winner", "red")
    assert _code(verdict) == "significant"
    assert "red beats control on spend by +2.5 at 50%" in verdict.reasons[0].message
    assert _outcomes(verdict) == {"red": "better", "blue": "open"}


def test_where_lower_is_better_the_lower_arm_wins() -> None:
    verdict = decide_winner(
        _evidence(_arm("red", 47.5), _arm("blue", 52.5), is_higher_better=False)
    )
    assert verdict.details["winner"] == "red"
    assert _outcomes(verdict) == {"red": "better", "blue": "harm"}
    assert [reason.code for reason in verdict.reasons] == ["significant", "harm"]


def test_two_arms_that_are_both_better_are_a_tie() -> None:
    verdict = decide_winner(_evidence(_arm("red", 52.5), _arm("blue", 52.6)))
    assert (verdict.verdict, _code(verdict)) == ("none", "tie")
    assert verdict.details["winner"] is None


def test_a_losing_arm_is_called_harm_and_there_is_no_winner() -> None:
    verdict = decide_winner(_evidence(_arm("red", 47.0), _arm("blue", 50.1)))
    assert verdict.verdict == "none"
    assert [reason.code for reason in verdict.reasons] == ["not-significant", "harm"]
    assert "red is significantly worse" in verdict.reasons[1].message


def test_the_nearest_missing_condition_is_named() -> None:
    verdict = decide_winner(_evidence(_arm("red", 50.9), _arm("blue", 50.1)))
    assert _code(verdict) == "not-significant"
    message = verdict.reasons[0].message
    assert message == "red is nearest: z +2.01 must reach +2.73 at 50% of the planned sample."


def test_a_plainly_significant_difference_is_no_winner_before_its_bound() -> None:
    verdict = decide_winner(_evidence(_arm("red", 51.0), _arm("blue", 50.0)))
    red = verdict.details["arms"][0]
    assert red["p_value"] < 0.05
    assert not red["is_significant"]
    assert red["lower"] > 0 > red["sequential_lower"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quality": Quality(outcome="failed", message="m")}, "data-quality-failed"),
        ({"quality": Quality(outcome="unknown", message="m")}, "data-quality-unknown"),
        ({"control": _arm("control", 50.0, assigned=1300)}, "srm"),
        ({"control": _arm("control", 50.0, assigned=1000, n=700)}, "srm-of-values"),
        ({"minimum_per_arm": 1001}, "below-minimum-sample"),
    ],
)
def test_behind_a_closed_gate_nothing_wins(changes: dict[str, Any], code: str) -> None:
    verdict = decide_winner(_evidence(_arm("red", 60.0), _arm("blue", 50.0), **changes))
    assert (verdict.verdict, _code(verdict)) == ("none", code)
    assert not verdict.details["is_usable"]
    assert set(_outcomes(verdict).values()) == {"open"}


def test_the_gates_close_in_their_order() -> None:
    broken = _arm("control", 50.0, n=10, assigned=1300)
    everything = _evidence(
        _arm("red", 60.0), control=broken, quality=Quality(outcome="failed", message="m")
    )
    assert _code(decide_winner(everything)) == "data-quality-failed"
    passed = everything.model_copy(update={"quality": Quality(outcome="passed")})
    assert _code(decide_winner(passed)) == "srm"


def test_traffic_in_an_arm_without_weight_is_a_mismatch() -> None:
    ghost = _arm("ghost", 50.0, n=3, weight=0.0)
    assert _code(decide_winner(_evidence(_arm("red", 52.5), ghost))) == "srm"


def test_an_arm_that_was_switched_off_costs_the_others_nothing() -> None:
    off = _arm("off", 0.0, n=0, weight=0.0, m2=0.0)
    alone = decide_winner(_evidence(_arm("red", 50.9)))
    beside = decide_winner(_evidence(_arm("red", 50.9), off))
    assert beside.details["arms"] == alone.details["arms"]


def _look(number: int, fraction: float, z: float | None, *, is_usable: bool = True) -> Look:
    return Look(number=number, fraction=fraction, is_usable=is_usable, z={"red": z, "blue": 0.1})


def test_an_arm_that_crossed_earlier_stays_significant() -> None:
    looks = (_look(1, 0.25, 4.0),)
    verdict = decide_winner(_evidence(_arm("red", 50.4), _arm("blue", 50.1), looks=looks))
    assert verdict.details["winner"] == "red"


def test_an_arm_that_crossed_and_turned_since_does_not_win() -> None:
    looks = (_look(1, 0.25, 4.0),)
    verdict = decide_winner(_evidence(_arm("red", 49.6), _arm("blue", 49.0), looks=looks))
    assert verdict.verdict == "none"
    assert "has turned since" in verdict.reasons[0].message


def test_a_crossing_behind_a_closed_gate_never_counts() -> None:
    looks = (_look(1, 0.25, 9.0, is_usable=False),)
    evidence = _evidence(_arm("red", 50.4), _arm("blue", 50.1), looks=looks)
    verdict = decide_winner(evidence)
    assert verdict.verdict == "none"
    fresh = decide_winner(evidence.model_copy(update={"looks": ()}))
    assert [arm["bound"] for arm in verdict.details["arms"]] == [
        arm["bound"] for arm in fresh.details["arms"]
    ]
    assert verdict.details["look_number"] == 2


def test_earlier_looks_move_the_bound_out() -> None:
    evidence = _evidence(_arm("red", 50.4), _arm("blue", 50.1))
    looks = tuple(_look(number, number / 20, 0.5) for number in range(1, 10))
    first = decide_winner(evidence).details["arms"][0]["bound"]
    tenth = decide_winner(evidence.model_copy(update={"looks": looks})).details["arms"][0]["bound"]
    assert tenth > first


@pytest.mark.parametrize("n", [0, 1])
def test_arms_without_values_are_undefined_never_a_winner(n: int) -> None:
    arms = [_arm(name, 0.0, n=n, m2=0.0) for name in ("red", "blue")]
    verdict = decide_winner(
        _evidence(*arms, control=_arm("control", 0.0, n=n, m2=0.0), minimum_per_arm=0)
    )
    assert (verdict.verdict, _code(verdict)) == ("none", "undefined")


def test_zero_conversions_everywhere_are_undefined() -> None:
    arms = [_arm(name, 0.0, m2=0.0) for name in ("red", "blue")]
    control = _arm("control", 0.0, m2=0.0)
    verdict = decide_winner(_evidence(*arms, control=control, kind="proportion"))
    assert _code(verdict) == "undefined"


def test_a_proportion_is_compared_by_its_counts() -> None:
    control = _arm("control", 0.10, n=2000, m2=180.0)
    arms = [_arm("red", 0.15, n=2000, m2=255.0), _arm("blue", 0.10, n=2000, m2=180.0)]
    verdict = decide_winner(_evidence(*arms, control=control, kind="proportion"))
    assert verdict.details["winner"] == "red"
    assert verdict.details["arms"][0]["difference"] == pytest.approx(0.05)


def test_the_same_evidence_gives_the_same_verdict_after_a_round_trip_through_json() -> None:
    evidence = _evidence(_arm("red", 51.0), _arm("blue", 50.0), looks=(_look(1, 0.2, None),))
    restored = WinnerEvidence.model_validate_json(evidence.model_dump_json())
    assert restored == evidence
    first, second = decide_winner(evidence), decide_winner(restored)
    assert Verdict.model_validate_json(first.model_dump_json()) == second


def test_evidence_refuses_unknown_fields_and_two_arms_of_one_name() -> None:
    with pytest.raises(ValidationError):
        _evidence(_arm("red", 50.0), surprise=1)
    with pytest.raises(ValidationError, match="same name"):
        _evidence(_arm("red", 50.0), _arm("red", 51.0))


_VALUES = st.floats(-1e100, 1e100) | st.sampled_from([0.0, -0.0, 5e-324, 1e-160, 1e9, 1.0])
_COUNTS = st.sampled_from([0, 1, 2, 3, 50, 100, 101, 10**6, 10**12])
_Z = st.sampled_from([None, 0.0, 1.0, -2.0, 3.0, 37.5, -37.5])


@st.composite
def _any_evidence(draw: st.DrawFn) -> WinnerEvidence:
    kind = draw(st.sampled_from(["mean", "proportion"]))
    arms = [_any_arm(draw, kind, name) for name in draw(st.sampled_from(["c", "cx", "cxyzw"]))]
    names = [arm.name for arm in arms[1:]]
    looks = [
        Look(
            number=number,
            fraction=draw(st.sampled_from([0, 0.001, 0.1, 0.5, 0.5, 1, 1.5])),
            is_usable=draw(st.booleans()),
            z={name: draw(_Z) for name in names},
        )
        for number in range(1, draw(st.integers(1, 5)))
    ]
    return WinnerEvidence(
        experiment="any",
        metric="any",
        kind=kind,
        is_higher_better=draw(st.booleans()),
        alpha=draw(st.sampled_from([1e-9, 0.05, 0.49, 0.999])),
        planned_units=draw(st.sampled_from([1, 100, 10**6])),
        minimum_per_arm=draw(st.sampled_from([0, 2, 100])),
        control=arms[0],
        treatments=tuple(arms[1:]),
        looks=tuple(looks),
        quality=Quality(outcome=draw(st.sampled_from(["passed", "passed", "failed", "unknown"]))),
    )


def _any_arm(draw: st.DrawFn, kind: str, name: str) -> Arm:
    n = draw(_COUNTS)
    if kind == "proportion":
        mean = draw(st.integers(0, n)) / max(n, 1)
        m2 = n * mean * (1 - mean)
    else:
        mean = draw(_VALUES) if n else 0.0
        m2 = abs(draw(_VALUES)) ** draw(st.sampled_from([1, 2])) if n > 1 else 0.0
    weight = draw(st.sampled_from([0, 0.1, 0.5, 1]))
    assigned = n + draw(st.integers(0, 3))
    return Arm(name=name, weight=weight, assigned=assigned, n=n, mean=mean, m2=m2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_any_evidence())
def test_whatever_the_figures_there_is_a_verdict_that_can_be_kept_replayed_and_read(
    evidence: WinnerEvidence,
) -> None:
    verdict = decide_winner(evidence)
    kept = jsonb.dump(verdict)
    assert "NaN" not in kept
    assert "Infinity" not in kept
    restored = WinnerEvidence.model_validate_json(jsonb.dump(evidence))
    assert jsonb.dump(decide_winner(restored)) == kept
    assert as_markdown(
        Analysis(experiment="any", is_skipped=False, message="", decision_id=1, verdict=verdict)
    )
    winner = verdict.details["winner"]
    if winner is not None:
        assert evidence.quality.outcome == "passed"
        (won,) = (arm for arm in verdict.details["arms"] if arm["name"] == winner)
        assert (won["difference"] > 0) == evidence.is_higher_better
