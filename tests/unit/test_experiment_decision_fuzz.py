from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import jsonb
from tasks.experiments.decision.evidence import Arm, Look, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.decision.trial import methods
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import QualityCheck

_VALUES = st.floats(-1e100, 1e100) | st.sampled_from([0.0, -0.0, 5e-324, 1e-160, 1e9, 1.0])
_COUNTS = st.sampled_from([0, 1, 2, 3, 50, 100, 101, 10**6, 10**12])
_Z = st.sampled_from([None, 0.0, 1.0, -2.0, 3.0, 37.5, -37.5])
_KINDS = ["mean", "proportion", "ratio", "quantile", "retention", "sum"]


@st.composite
def _any_evidence(draw: st.DrawFn) -> WinnerEvidence:
    names = list(draw(st.sampled_from(["c", "cx", "cxyzw"])))
    fractions = st.sampled_from([0, 0.001, 0.1, 0.5, 0.5, 1, 1.5])
    looks = [
        Look(
            number=number,
            fraction=draw(fractions),
            z={name: draw(_Z) for name in names[1:]},
            n={name: draw(_COUNTS) for name in names},
        )
        for number in range(1, draw(st.integers(1, 5)))
    ]
    return WinnerEvidence(
        experiment="any",
        plan=_any_plan(draw),
        primary=_any_metric(draw, "primary", names),
        secondaries=(_any_metric(draw, "secondary", names),),
        guardrails=(_any_metric(draw, "guardrail", names),),
        looks=tuple(looks),
        checks=(_check(draw(st.sampled_from(["passed", "passed", "failed", "unknown"]))),),
    )


def _check(outcome: Any) -> QualityCheck:
    return QualityCheck(name="data-quality", outcome=outcome)


def _any_plan(draw: st.DrawFn) -> Plan:
    alpha = draw(st.sampled_from([1e-9, 0.05, 0.49, 0.999]))
    terms = Terms(
        alpha=alpha,
        planned_units=draw(st.sampled_from([1, 100, 10**6])),
        method=draw(st.sampled_from(methods.names())),
        reserved_alpha=draw(st.sampled_from([0.0, alpha / 5])),
    )
    return Plan(
        terms=terms,
        minimum_per_arm=draw(st.sampled_from([0, 2, 100])),
        minimum_effect=draw(st.sampled_from([None, 0.01])),
        tie_break_metric=draw(st.sampled_from([None, "secondary"])),
    )


def _any_metric(draw: st.DrawFn, role: Any, names: list[str]) -> Measured:
    kind = draw(st.sampled_from(_KINDS))
    arms = [_any_arm(draw, kind, name) for name in names]
    return Measured(
        name=role,
        role=role,
        kind=kind,
        is_higher_better=draw(st.booleans()),
        margin=0.01,
        control=arms[0],
        treatments=tuple(arms[1:]),
    )


def _any_arm(draw: st.DrawFn, kind: str, name: str) -> Arm:
    n = draw(_COUNTS)
    pair = None
    if kind in {"proportion", "retention"}:
        mean = draw(st.integers(0, n)) / max(n, 1)
        m2 = n * mean * (1 - mean)
    else:
        mean = draw(_VALUES) if n else 0.0
        m2 = abs(draw(_VALUES)) ** draw(st.sampled_from([1, 2])) if n > 1 else 0.0
        pair = {"mean": draw(_VALUES), "m2": abs(draw(_VALUES)), "c2": draw(_VALUES)}
    return Arm(
        name=name,
        weight=draw(st.sampled_from([0, 0.1, 0.5, 1])),
        assigned=n + draw(st.integers(0, 3)),
        n=n,
        mean=mean,
        m2=m2,
        denominator=pair if kind == "ratio" else None,
        covariate=pair if kind in {"mean", "sum"} and draw(st.booleans()) else None,
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_any_evidence())
def test_whatever_the_figures_there_is_a_verdict_that_can_be_kept_and_replayed(
    found: WinnerEvidence,
) -> None:
    verdict = decide_winner(found)
    kept = jsonb.dump(verdict)
    assert "NaN" not in kept
    assert "Infinity" not in kept
    restored = WinnerEvidence.model_validate_json(jsonb.dump(found))
    assert jsonb.dump(decide_winner(restored)) == kept
    winner = verdict.details["winner"]
    if winner is not None:
        assert found.checks[0].outcome == "passed"
        (won,) = (row for row in verdict.details["arms"] if row["name"] == winner)
        assert (won["difference"] > 0) == found.primary.is_higher_better
        assert set(won["guardrails"].values()) == {"safe"}
