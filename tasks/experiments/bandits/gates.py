"""What must hold before the traffic may follow the evidence: while one is closed it stays put."""

from __future__ import annotations

from tasks.errors import Reason
from tasks.experiments.bandits.algorithms import algorithms
from tasks.experiments.bandits.evidence import AllocationEvidence
from tasks.experiments.bandits.standing import is_usable
from tasks.experiments.quality.checks.calibration import BROKEN, CALIBRATION
from tasks.experiments.quality.checks.missing import MISSING, PRIMARY
from tasks.experiments.quality.model import QualityCheck, closing


def closed_gate(evidence: AllocationEvidence) -> Reason | None:
    """Return why the split must stay as it is; None if it may change."""
    if evidence.is_paused:
        return Reason("paused", "It is paused: nobody new is assigned, and the split stays.")
    if len(evidence.open_arms) < 2:
        return Reason("no-choice", "Fewer than two arms are open: there is nothing to choose.")
    if evidence.policy.algorithm not in algorithms.names():
        known = ", ".join(algorithms.names())
        message = f"No algorithm is called {evidence.policy.algorithm!r}; choose one of: {known}."
        return Reason("unknown-algorithm", message)
    if not is_usable(evidence):
        why = evidence.problem or "they are not those of a rate or a mean"
        return Reason("metric-missing", f"{evidence.metric} has no usable figures: {why}.")
    return _quality(evidence)


def warming_up(evidence: AllocationEvidence) -> Reason | None:
    """Return what is still waited for; None once every open arm has its units and hours."""
    policy, hours = evidence.policy, evidence.hours
    smallest = min(evidence.open_arms, key=lambda arm: arm.n)
    if smallest.n < policy.warm_up_units:
        seen = (
            f"{smallest.name} has {smallest.n} units whose outcome is known; every arm needs "
            f"{policy.warm_up_units}"
        )
    elif policy.warm_up_hours > 0 and (hours is None or hours < policy.warm_up_hours):
        since = "an unknown time has" if hours is None else f"{hours:.1f} hours have"
        seen = f"{since} passed since the start, {policy.warm_up_hours:g} are needed"
    else:
        return None
    return Reason("warming-up", f"The split stays as it is until it may follow: {seen}.")


def looked_at(check: QualityCheck) -> tuple[object, ...]:
    """What these gates ask of a check: nothing is new where all of it is as it was."""
    return check.name, check.outcome, *(bool(check.figures.get(each)) for each in (BROKEN, PRIMARY))


def _quality(evidence: AllocationEvidence) -> Reason | None:
    """Every check of the data has passed; one that could not be made is no better than failed."""
    if not evidence.checks:
        return Reason("quality-unknown", "Held: the data were not checked.")
    closed = [check for check in closing(evidence.checks) if _holds_traffic(check)]
    if not closed:
        return _calibration(evidence)
    check, others = closed[0], len(closed) - 1
    more = f" ({others} more have not passed)" if others else ""
    told = check.message.rstrip(".") or "it says no more"
    return Reason(f"quality-{check.outcome}", f"Held by the check {check.name}{more}: {told}.")


def _holds_traffic(check: QualityCheck) -> bool:
    """Traffic follows the primary metric alone: a guardrail without events stops no traffic."""
    return check.name != MISSING or bool(check.figures.get(PRIMARY))


def _calibration(evidence: AllocationEvidence) -> Reason | None:
    """A metric whose tests err more often than they promise moves nothing by itself."""
    for check in evidence.checks:
        if check.name == CALIBRATION and check.figures.get(BROKEN):
            return Reason("calibration-broken", f"Held: {check.message.rstrip('.')}.")
    return None
