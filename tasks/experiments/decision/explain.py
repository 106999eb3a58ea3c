"""Why there is a winner or none, in one sentence, and which condition is nearest."""

from __future__ import annotations

from typing import Any

from tasks.errors import Reason
from tasks.experiments.decision.automation import withheld
from tasks.experiments.decision.futility import Futility
from tasks.experiments.decision.standing import Standing

_GUARDRAIL_ORDER = ("failed", "unknown", "indeterminate")


def reasons_of(found: Standing, futility: Futility) -> tuple[Reason, ...]:
    """The deciding reason first, then other harm that was found and futility."""
    first = _deciding(found)
    harms = [_harm(found, name) for name, outcome in found.outcomes.items() if outcome == "harm"]
    beside = [Reason("futile", futility.message)] if futility.is_futile else []
    reason = withheld(found.evidence) if found.winner is not None else None
    beside += [] if reason is None else [reason]
    return (first, *(harm for harm in harms if harm != first), *beside)


def nearest_of(found: Standing, reason: Reason) -> dict[str, Any] | None:
    """The condition that is missing, with the figures it is about; None where there is a winner."""
    if found.winner is not None:
        return None
    missing: dict[str, Any] = {"condition": reason.code, "message": reason.message}
    name = _nearest_arm(found)
    if name is not None and found.is_usable:
        test = found.judged.arms[name]
        missing |= {"arm": name, "z": found.trial.compared[name].z, "bound": test.bound}
    return missing


def _deciding(found: Standing) -> Reason:
    blocked = found.closed or found.waiting
    if blocked is not None:
        return blocked
    if found.winner is not None:
        return Reason("tie-broken" if found.is_tie_broken else "significant", _win(found))
    if found.survivors:
        return Reason("tie", _tie(found))
    if found.better:
        return _guardrail(found)
    name = _nearest_arm(found)
    if name is None:
        message = "No arm can be compared: values are missing or do not vary."
        return Reason("undefined", message)
    if found.outcomes[name] == "harm":
        return _harm(found, name)  # the nearest of them: no other is better, or open
    return _not_found(found, name)


def _win(found: Standing) -> str:
    name = found.winner or ""
    evidence = found.evidence
    safe = " and every guardrail is safe" if evidence.guardrails else ""
    first = (
        f"{name} beats {evidence.primary.control.name} on {evidence.primary.name} by "
        f"{_figure(found.trial.compared[name].difference)} {_where(found)}{safe}."
    )
    if not found.is_tie_broken:
        return first
    others = " and ".join(each for each in found.survivors if each != name)
    return f"{first} {others} does too; {evidence.plan.tie_break_metric} decides between them."


def _tie(found: Standing) -> str:
    names, metric = " and ".join(found.survivors), found.evidence.plan.tie_break_metric
    told = (
        f"{metric}, which was to decide between them, does not"
        if metric
        else "no metric was named to decide between them"
    )
    control = found.evidence.primary.control.name
    return f"{names} are all significantly better than {control}, and {told}; a person must."


def _guardrail(found: Standing) -> Reason:
    """Say which guardrail holds the best arm back."""
    blocking = [
        (name, guarded)
        for name in found.better
        for guarded in found.guarded[name]
        if not guarded.is_safe
    ]
    name, worst = min(blocking, key=lambda each: _GUARDRAIL_ORDER.index(each[1].outcome))
    control = found.evidence.primary.control.name
    said = {
        "failed": f"is worse than {control} by more than its margin",
        "unknown": f"could not be worked out ({worst.problem})",
        "indeterminate": f"is not yet shown to be within its margin of {control}",
    }[worst.outcome]
    interval = (
        ""
        if worst.lower is None or worst.upper is None or worst.margin is None
        else f" ({worst.lower:+.4g} to {worst.upper:+.4g}, margin {worst.margin:.4g})"
    )
    message = f"{name} is significantly better, but its {worst.metric} {said}{interval}."
    return Reason(f"guardrail-{worst.outcome}", message)


def _not_found(found: Standing, name: str) -> Reason:
    """Say what the nearest arm lacks."""
    test, where = found.judged.arms[name], _where(found)
    z = found.trial.compared[name].z or 0.0
    if test.is_found:
        message = (
            f"{name} was significant at an earlier look, which no longer holds (z {z:+.2f} now)."
        )
        return Reason("turned", message)
    if "chance_to_win" in test.figures:
        message = (
            f"{name} is nearest: its chance to beat the control is "
            f"{test.figures['chance_to_win']:.1%} and must reach {1 - test.level:.1%}."
        )
        return Reason("not-significant", message)
    if test.bound is None:
        return _without_bound(found, name, z)
    sign = "+" if found.evidence.primary.is_higher_better else "-"
    message = f"{name} is nearest: z {z:+.2f} must reach {sign}{test.bound:.2f} {where}."
    return Reason("not-significant", message)


def _without_bound(found: Standing, name: str, z: float) -> Reason:
    if found.judged.note and not found.trial.terms.reserved_alpha:
        return Reason("nothing-decided", found.judged.note)
    if found.evidence.fraction > 1:
        message = (
            f"{name} is nearest with z {z:+.2f}; the planned sample is past, and no error was "
            "reserved for the time after it."
        )
        return Reason("nothing-left-to-spend", message)
    message = (
        f"{name} is nearest with z {z:+.2f}; too little is new since the last look {_where(found)}."
    )
    return Reason("not-significant", message)


def _nearest_arm(found: Standing) -> str | None:
    compared = {arm.name: found.trial.compared[arm.name] for arm in found.evidence.open_arms}
    known = {name: c.z for name, c in compared.items() if c.z is not None}
    sign = 1.0 if found.evidence.primary.is_higher_better else -1.0
    return max(known, key=lambda name: sign * known[name]) if known else None


def _harm(found: Standing, name: str) -> Reason:
    primary = found.evidence.primary
    message = (
        f"{name} is significantly worse than {primary.control.name} on {primary.name} "
        f"({_figure(found.trial.compared[name].difference)})."
    )
    return Reason("harm", message)


def _where(found: Standing) -> str:
    return f"at {found.evidence.fraction:.0%} of the planned sample"


def _figure(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:+.4g}"
