"""Valid at every look without a planned end, on the scale of the difference.

On that of the lift it would leak at rates of a few percent; and below 25 conversions an arm its
normal limit does not hold yet, so such looks do not count.
"""

from __future__ import annotations

from tasks.errors import Reason
from tasks.experiments.decision.evidence import Arm, WinnerEvidence
from tasks.experiments.decision.looks import step_down
from tasks.experiments.decision.methods.anytime import (
    anytime_p_value,
    anytime_reach,
    first_crossing,
)
from tasks.experiments.decision.trial import ArmTest, Judged, Method, Trial, methods
from tasks.experiments.metrics import metrics
from tasks.experiments.statistics.multiplicity import holm

LEAST_CONVERSIONS = 25


def has_enough_conversions(evidence: WinnerEvidence) -> Reason | None:
    """Say which arm has too few conversions for the normal limit; None if none has."""
    is_rate = metrics.get(evidence.primary.kind).is_rate
    counts = {
        arm.name: _conversions(arm, is_rate=is_rate)
        for arm in (evidence.primary.control, *evidence.open_arms)
    }
    name = min(counts, key=counts.__getitem__)
    if counts[name] >= LEAST_CONVERSIONS:
        return None
    message = (
        f"{name} has {counts[name]} conversions; a confidence sequence holds from "
        f"{LEAST_CONVERSIONS} in every arm on."
    )
    return Reason("below-minimum-conversions", message)


def judge(trial: Trial) -> Judged:
    """Judge every arm by its confidence sequence over all looks so far."""
    names = list(trial.deviates)
    raw = [anytime_p_value(*_seen(trial, name), _tuned(trial, name)) for name in names]
    p_values = dict(zip(names, holm(raw), strict=True))
    arms = step_down(
        names,
        trial.terms.alpha,
        lambda name, level: _tested(trial, name, level, p_values[name]),
    )

    def reach(level: float, n: int) -> float | None:
        tuned = level, trial.terms.planned_units
        return anytime_reach(n, level, tuned) if trial.is_usable else None

    return Judged(arms, reach)


def _tested(trial: Trial, name: str, level: float, p_value: float) -> ArmTest:
    z, n = _seen(trial, name)
    crossed = first_crossing(z, n, level, _tuned(trial, name))
    is_above = None if crossed is None else (z[crossed] or 0.0) > 0
    bound = anytime_reach(n[-1], level, _tuned(trial, name)) if n else None
    return ArmTest(p_value, level, crossed is not None, is_above, bound, level, bound)


def _seen(trial: Trial, name: str) -> tuple[tuple[float | None, ...], tuple[int, ...]]:
    return trial.deviates[name], trial.units[name]


def _tuned(trial: Trial, name: str) -> tuple[float, float]:
    """The level and the units at which it is narrowest: as planned, unless told otherwise."""
    told = trial.terms.method_options.get("tuned_for") or trial.terms.planned_units
    return trial.terms.alpha, trial.planned_units[name] * told / trial.terms.planned_units


def _conversions(arm: Arm, *, is_rate: bool) -> int:
    if is_rate:
        return round(arm.mean * arm.n)
    # Statistics that somebody else aggregated do not say how many units had an event.
    return arm.converted or arm.n


methods.register("confidence_sequence")(Method(judge, has_enough_conversions, is_sequential=True))
