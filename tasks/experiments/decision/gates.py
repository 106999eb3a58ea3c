"""What must hold before a look may test anything.

While a gate is closed the look cannot cross a bound, and what it would have spent of alpha is left
to the next one.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.errors import Reason
from tasks.experiments.decision.evidence import Terms, WinnerEvidence
from tasks.experiments.quality.model import closing


def closed_gate(evidence: WinnerEvidence) -> Reason | None:
    """Return why nothing may be tested, by the first gate that is closed; None if all are open."""
    for gate in _GATES:
        reason = gate(evidence)
        if reason is not None:
            return reason
    return None


def data_quality(evidence: WinnerEvidence) -> Reason | None:
    """Every check of the data has passed; one that could not be made is no better than failed."""
    if not evidence.checks:
        return Reason("data-quality-unknown", "The data were not checked; nothing is decided.")
    closed = closing(evidence.checks)
    if not closed:
        return None
    check = closed[0]
    others = f" ({len(closed) - 1} more checks have not passed.)" if closed[1:] else ""
    if check.outcome == "failed":
        return Reason(f"{check.name}-failed", f"{_sentence(check.message or check.name)}{others}")
    message = f"This could not be checked, so nothing is decided: {check.message or check.name}"
    return Reason(f"{check.name}-unknown", f"{_sentence(message)}{others}")


def same_plan(evidence: WinnerEvidence) -> Reason | None:
    """The error is spent by the terms of the first look."""
    before, now = evidence.earlier_terms, evidence.plan.terms
    if before is None or before == now:
        return None
    changed = [name for name in Terms.model_fields if getattr(before, name) != getattr(now, name)]
    listed = ", ".join(f"{n} was {getattr(before, n)}, is {getattr(now, n)}" for n in changed)
    message = (
        f"The plan is not that of the earlier looks: {listed}. The error was spent by the earlier "
        "one: put it back, or start another experiment."
    )
    return Reason("plan-changed", message)


def has_figures(evidence: WinnerEvidence) -> Reason | None:
    """The primary metric was measured."""
    if not evidence.primary.problem:
        return None
    message = f"{evidence.primary.name} has no figures: {evidence.primary.problem}."
    return Reason("metric-missing", message)


def minimum_sample(evidence: WinnerEvidence) -> Reason | None:
    """Every arm that gets traffic has the units that the plan asks for, whatever the method."""
    arms = [arm for arm in evidence.primary.arms if arm.weight > 0] or evidence.primary.arms
    smallest = min(arms, key=lambda arm: arm.n)
    if smallest.n >= evidence.plan.minimum_per_arm:
        return None
    message = (
        f"{smallest.name} has {smallest.n} units with a value; "
        f"every arm needs {evidence.plan.minimum_per_arm} before anything is decided."
    )
    return Reason("below-minimum-sample", message)


def minimum_weeks(evidence: WinnerEvidence) -> Reason | None:
    """The experiment has seen every day of the week as often as the plan asks for."""
    plan = evidence.plan
    if plan.full_weeks >= plan.minimum_weeks:
        return None
    message = (
        f"{plan.full_weeks} full weeks have passed since the start; "
        f"{plan.minimum_weeks} are needed before anything is decided."
    )
    return Reason("below-minimum-weeks", message)


_GATES: tuple[Callable[[WinnerEvidence], Reason | None], ...] = (
    data_quality,
    same_plan,
    has_figures,
    minimum_sample,
    minimum_weeks,
)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
