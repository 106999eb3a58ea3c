"""Is there a winner? Gates first, then a test that may be repeated at every look.

Gates, in order: data quality, the plan (unchanged since the first look), sample ratio (of the
units assigned, and of those with a value: where treatments lose units unequally, the rest no longer
compare), minimum sample per arm. While one is closed the verdict is "none" and the look tests
nothing: it cannot cross a bound, and what it would have spent of alpha is left to the next. Then
group-sequential bounds under alpha · t² at the actual information fractions, Holm over the arms.
The winner is the one arm that is significantly better; with several it is a tie.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.experiments.decision.evidence import Arm, Look, WinnerEvidence
from tasks.experiments.decision.looks import ArmTest, judge_arms
from tasks.experiments.metrics import metrics
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.srm import SRM_ALPHA, SampleRatio, sample_ratio

_DIGITS = 10


@rule("experiment-winner", version=1)
def decide_winner(evidence: WinnerEvidence) -> Verdict:
    """Judge one look at one experiment: "winner" (details.winner names it) or "none"."""
    weights = [arm.weight for arm in evidence.arms]
    assigned = sample_ratio([arm.assigned for arm in evidence.arms], weights)
    valued = sample_ratio([arm.n for arm in evidence.arms], weights)
    closed = _closed_gate(evidence, assigned, valued)
    compared = {arm.name: _compare(evidence, arm) for arm in evidence.tested}
    tests = _judge(evidence, compared, is_usable=closed is None)
    outcomes = {name: _outcome(evidence, compared[name], tests[name]) for name in compared}
    better = [name for name, outcome in outcomes.items() if outcome == "better"]
    winner = better[0] if len(better) == 1 and closed is None else None
    reason = closed or _reason(evidence, compared, tests, better)
    harms = [_harm(evidence, compared[name], name) for name in compared if outcomes[name] == "harm"]
    details = {
        "winner": winner,
        "look_number": evidence.look_number,
        "information_fraction": evidence.fraction,
        "is_usable": closed is None,
        "sample_ratio": asdict(assigned),
        "value_ratio": asdict(valued),
        "control": _own(evidence.control),
        "arms": [
            _row(arm, compared[arm.name], tests[arm.name], outcomes[arm.name], closed is None)
            for arm in evidence.tested
        ],
    }
    return Verdict(
        verdict="winner" if winner else "none",
        reasons=(reason, *harms),
        details=_rounded(details),
    )


def _closed_gate(
    evidence: WinnerEvidence, assigned: SampleRatio, valued: SampleRatio
) -> Reason | None:
    quality = evidence.quality
    if quality.outcome == "failed":
        return Reason("data-quality-failed", f"The data failed its checks: {quality.message}.")
    if quality.outcome == "unknown":
        message = f"The data could not be checked, so nothing is decided on it: {quality.message}."
        return Reason("data-quality-unknown", message)
    for look in evidence.looks:
        if _is_of_another_plan(look, evidence):
            return Reason("plan-changed", _another_plan(look, evidence))
    if assigned.is_mismatch:
        counts = {arm.name: arm.assigned for arm in evidence.arms}
        return Reason("srm", _mismatch("The traffic", assigned, counts))
    if valued.is_mismatch:
        counts = {arm.name: arm.n for arm in evidence.arms}
        return Reason("srm-of-values", _mismatch("Units with a value", valued, counts))
    open_arms = [arm for arm in evidence.arms if arm.weight > 0] or evidence.arms
    smallest = min(open_arms, key=lambda arm: arm.n)
    if smallest.n < evidence.minimum_per_arm:
        message = (
            f"{smallest.name} has {smallest.n} units with a value; "
            f"every arm needs {evidence.minimum_per_arm} before anything is decided."
        )
        return Reason("below-minimum-sample", message)
    return None


def _is_of_another_plan(look: Look, evidence: WinnerEvidence) -> bool:
    plan = look.planned_units, look.alpha
    return look.is_usable and plan not in {(None, None), (evidence.planned_units, evidence.alpha)}


def _another_plan(look: Look, evidence: WinnerEvidence) -> str:
    return (
        f"Look {look.number} was judged by a plan of {look.planned_units} units at alpha "
        f"{look.alpha:g}, now it says {evidence.planned_units} at {evidence.alpha:g}. The error "
        "was spent by the first one: put it back, or start another experiment."
    )


def _mismatch(what: str, srm: SampleRatio, counts: dict[str, int]) -> str:
    seen = ", ".join(f"{name} {count}" for name, count in counts.items())
    p_value = 0.0 if srm.p_value is None else srm.p_value
    return (
        f"{what} did not split as planned (p = {p_value:.2g}, below {SRM_ALPHA:g}): {seen}. "
        "Find out why before trusting any difference."
    )


def _compare(evidence: WinnerEvidence, arm: Arm) -> Comparison:
    compare = metrics.get(evidence.kind)
    return compare(evidence.control.moments, arm.moments, evidence.alpha)


def _judge(
    evidence: WinnerEvidence, compared: dict[str, Comparison], *, is_usable: bool
) -> dict[str, ArmTest]:
    """Put this look behind the earlier usable ones and test every arm."""
    usable = [look for look in evidence.looks if look.is_usable]
    fractions = [look.fraction for look in usable] + [evidence.fraction] * is_usable
    deviates = {
        name: [look.z.get(name) for look in usable] + [comparison.z] * is_usable
        for name, comparison in compared.items()
    }
    return judge_arms(fractions, deviates, evidence.alpha)


def _outcome(evidence: WinnerEvidence, comparison: Comparison, test: ArmTest) -> str:
    """Better or harm: significant at some look, and still on that side now; else open."""
    is_above = _points(test, comparison)
    if is_above is None:
        return "open"
    return "better" if is_above == evidence.is_higher_better else "harm"


def _points(test: ArmTest, comparison: Comparison) -> bool | None:
    """True = significantly above the control, False = below, None = neither (or it turned)."""
    difference = comparison.difference
    if test.is_above is None or not difference:
        return None
    return test.is_above if (difference > 0) == test.is_above else None


def _reason(
    evidence: WinnerEvidence,
    compared: dict[str, Comparison],
    tests: dict[str, ArmTest],
    better: list[str],
) -> Reason:
    if len(better) == 1:
        return Reason("significant", _win(evidence, compared[better[0]], better[0]))
    if better:
        names = " and ".join(better)
        message = f"{names} are all significantly better than {evidence.control.name}; one must be."
        return Reason("tie", message)
    known = {name: c.z for name, c in compared.items() if c.z is not None}
    if not known:
        message = "No arm can be compared: values are missing or do not vary."
        return Reason("undefined", message)
    sign = 1.0 if evidence.is_higher_better else -1.0
    nearest = max(known, key=lambda name: sign * known[name])
    return Reason("not-significant", _missing(evidence, nearest, known[nearest], tests[nearest]))


def _win(evidence: WinnerEvidence, comparison: Comparison, name: str) -> str:
    return (
        f"{name} beats {evidence.control.name} on {evidence.metric} by "
        f"{_figure(comparison.difference)} at {evidence.fraction:.0%} of the planned sample."
    )


def _harm(evidence: WinnerEvidence, comparison: Comparison, name: str) -> Reason:
    message = (
        f"{name} is significantly worse than {evidence.control.name} on {evidence.metric} "
        f"({_figure(comparison.difference)})."
    )
    return Reason("harm", message)


def _missing(evidence: WinnerEvidence, name: str, z: float, test: ArmTest) -> str:
    """Say what the nearest arm lacks."""
    where = f"at {evidence.fraction:.0%} of the planned sample"
    if test.crossed_at is not None:
        return f"{name} was significant at an earlier look and has turned since (z {z:+.2f} now)."
    if test.bound is None or test.bound.z is None:
        return f"{name} is nearest with z {z:+.2f}; too little is new since the last look {where}."
    sign = "+" if evidence.is_higher_better else "-"
    return f"{name} is nearest: z {z:+.2f} must reach {sign}{test.bound.z:.2f} {where}."


def _figure(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:+.4g}"


def _own(arm: Arm) -> dict[str, Any]:
    return {"name": arm.name, "assigned": arm.assigned, "n": arm.n, "mean": arm.mean, "m2": arm.m2}


def _row(
    arm: Arm, comparison: Comparison, test: ArmTest, outcome: str, is_usable: bool
) -> dict[str, Any]:
    bound = test.bound.z if test.bound and is_usable else None
    error = comparison.standard_error
    reach = None if bound is None or error is None else bound * error
    centre = comparison.difference
    return {
        **_own(arm),
        **asdict(comparison),
        # The interval that may be read at every look: it excludes 0 where the bound is crossed.
        "sequential_lower": None if reach is None or centre is None else centre - reach,
        "sequential_upper": None if reach is None or centre is None else centre + reach,
        "alpha_level": test.level,
        "bound": bound,
        "alpha_spent": test.bound.alpha_spent if test.bound else 0.0,
        "adjusted_p_value": test.p_value,
        # An arm that was significant and has turned since is neither better nor harm.
        "crossed_ever": test.crossed_at is not None,
        "is_significant": outcome != "open",
        "outcome": outcome,
    }


def _rounded(value: Any) -> Any:
    """Cut floats to ten digits: the last bits differ between machines, a replay must not."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
