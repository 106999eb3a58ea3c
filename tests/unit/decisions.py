"""Evidence for tests of the winner rule."""

from __future__ import annotations

from typing import Any

from tasks.decisions import Verdict
from tasks.experiments.decision.evidence import Arm, Look, Measured, Plan, Terms, WinnerEvidence
from tasks.experiments.quality.model import QualityCheck

SD = 10.0
PASSED = QualityCheck(name="data-quality", outcome="passed")


def arm(name: str, mean: float, n: int = 1000, **changes: Any) -> Arm:
    """A thousand units with a standard deviation of 10."""
    fields = {"name": name, "weight": 1 / 3, "assigned": n, "n": n, "mean": mean, "m2": SD**2 * n}
    return Arm(**{**fields, **changes})


def rate(name: str, successes: int, n: int, **changes: Any) -> Arm:
    """Units of which some converted."""
    share = successes / n
    counts = {"m2": n * share * (1 - share), "events": successes, "converted": successes}
    return arm(name, share, n, **(counts | changes))


CONTROL = arm("control", 50.0)


def measured(*treatments: Arm, control: Arm = CONTROL, **changes: Any) -> Measured:
    """One metric, the mean of what is spent."""
    fields: dict[str, Any] = {"name": "spend", "role": "primary", "kind": "mean"}
    return Measured(control=control, treatments=treatments, **{**fields, **changes})


def guardrail(*treatments: Arm, **changes: Any) -> Measured:
    """A metric that may be 10 % worse."""
    fields = {"name": "speed", "role": "guardrail", "margin": 0.1}
    return measured(*treatments, **{**fields, **changes})


def terms(**changes: Any) -> Terms:
    """5 % on six thousand units, group-sequential."""
    return Terms(**({"alpha": 0.05, "planned_units": 6000} | changes))


def evidence(*treatments: Arm, **changes: Any) -> WinnerEvidence:
    """Half of the planned units are there, and nothing is wrong; ``changes`` at any level."""
    taken = {k: changes.pop(k) for k in ("control", "kind", "is_higher_better") if k in changes}
    settled = {k: changes.pop(k) for k in list(changes) if k in Terms.model_fields}
    planned = {k: changes.pop(k) for k in list(changes) if k in Plan.model_fields}
    fields: dict[str, Any] = {
        "experiment": "buttons",
        "plan": Plan(**({"terms": terms(**settled), "minimum_per_arm": 100} | planned)),
        "primary": measured(*treatments, **taken),
        "checks": (PASSED,),
    }
    return WinnerEvidence(**{**fields, **changes})


def look(number: int, fraction: float, z: float | None, n: int = 1000) -> Look:
    """An earlier look at red and blue; blue never differs much."""
    z_of = {"red": z, "blue": 0.1}
    return Look(number=number, fraction=fraction, z=z_of, n=dict.fromkeys(["control", *z_of], n))


def code(verdict: Verdict) -> str:
    """The deciding reason."""
    return verdict.reasons[0].code


def outcomes(verdict: Verdict) -> dict[str, str]:
    """By arm."""
    return {row["name"]: row["outcome"] for row in verdict.details["arms"]}
