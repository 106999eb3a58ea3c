"""Error spent as alpha · t^rho on the planned sample; past it, only what was reserved.

The fraction t is that of the units which are really there. A reserve, set before the start, is kept
out of the spending: from the planned end on a confidence sequence of that level judges, so that an
experiment which goes on is still decided within alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.experiments.decision.looks import step_down
from tasks.experiments.decision.methods.anytime import (
    anytime_p_value,
    anytime_reach,
    first_crossing,
)
from tasks.experiments.decision.trial import ArmTest, Judged, Method, Trial, methods
from tasks.experiments.statistics.corrections import correction_factor
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.sequential import (
    Bound,
    group_sequential_bounds,
    has_crossed,
    sequential_p_value,
)

_LARGEST_ALPHA = 0.999


def judge(trial: Trial) -> Judged:
    """Judge every arm by its bounds so far, and past the plan by the reserve."""
    names = list(trial.deviates)
    planned = {name: _planned_p_value(trial, name) for name in names}
    whole = holm([_whole_p_value(trial, name, planned[name]) for name in names])
    p_values = dict(zip(names, whole, strict=True))

    def test(name: str, level: float) -> ArmTest:
        found = _tested(trial, name, level, p_values[name])
        return replace(found, raw_p_value=planned[name])

    def reach(level: float, n: int) -> float | None:
        return _reach(trial, level, n)

    return Judged(step_down(names, trial.terms.alpha, test), reach)


def _planned_p_value(trial: Trial, name: str) -> float:
    """The smallest alpha at which this arm crossed a bound of the planned sample, alone.

    It changes only where this look crosses the bounds of the one before: that is quickly seen.
    """
    z, before = trial.deviates[name], trial.earlier_p_values.get(name)
    if before is None:
        return sequential_p_value(trial.fractions, z, _rho(trial))
    if not trial.is_usable:
        return before
    bounds = group_sequential_bounds(trial.fractions, min(before, _LARGEST_ALPHA), _rho(trial))
    bound = bounds[-1].z
    if bound is None or z[-1] is None or abs(z[-1]) < bound:
        return before
    return sequential_p_value(trial.fractions, z, _rho(trial))


def _whole_p_value(trial: Trial, name: str, planned: float) -> float:
    """The smallest alpha, that of the reserve included, at which this arm was found."""
    before, after = _shares(trial)
    p_value = planned / before
    if after > 0:
        z, n = _after_plan(trial, name)
        p_value = min(p_value, anytime_p_value(z, n, _tuned(trial, name)) / after)
    return min(1.0, p_value)


def _tested(trial: Trial, name: str, level: float, p_value: float) -> ArmTest:
    before, after = _shares(trial)
    bounds = group_sequential_bounds(trial.fractions, level * before, _rho(trial))
    crossed = has_crossed(bounds, trial.deviates[name])
    latest = bounds[-1] if bounds else Bound(0.0, None, 0.0)
    bound, spent = latest.z, latest.alpha_spent
    if after > 0 and trial.fractions and trial.fractions[-1] >= 1:
        z, n = _after_plan(trial, name)
        later = anytime_reach(n[-1], level * after, _tuned(trial, name))
        bound = later if bound is None else min(bound, later)
        spent += level * after
        if crossed is None:
            index = first_crossing(z, n, level * after, _tuned(trial, name))
            crossed = None if index is None else len(trial.fractions) - len(z) + index
    found = ArmTest(p_value, level, bound=bound, alpha_spent=spent, reach=bound)
    if crossed is None:
        return found
    is_above = (trial.deviates[name][crossed] or 0.0) > 0
    factor = _correction(trial, level * before)
    return replace(found, is_found=True, is_above=is_above, correction=factor)


def _correction(trial: Trial, level: float) -> float | None:
    """Of the winner's curse; None where no effect has the planned power, as with a huge alpha."""
    try:
        return correction_factor(trial.fractions, level, _rho(trial), trial.power)
    except ValueError:
        return None


def _reach(trial: Trial, level: float, n: int) -> float | None:
    """Half of the repeated confidence interval (Jennison and Turnbull 2000, chapter 9).

    Its error is divided as alpha is: what is kept for after the plan is not spent before.
    """
    if not trial.is_usable:
        return None
    before, after = _shares(trial)
    bounds = group_sequential_bounds(trial.fractions, level * before, _rho(trial))
    if after > 0 and trial.fractions[-1] >= 1:
        later = anytime_reach(n, level * after, (level * after, trial.terms.planned_units))
        own = bounds[-1].z
        return later if own is None else min(own, later)
    # A look that brought hardly any units has no bound of its own; that of the last one holds.
    return next((bound.z for bound in reversed(bounds) if bound.z is not None), None)


def _shares(trial: Trial) -> tuple[float, float]:
    """How alpha is divided: for the planned sample, and for the time after it."""
    after = trial.terms.reserved_alpha / trial.terms.alpha
    return 1 - after, after


def _after_plan(trial: Trial, name: str) -> tuple[Sequence[float | None], Sequence[int]]:
    """Z and units of the looks from the planned end on."""
    first = next((i for i, t in enumerate(trial.fractions) if t >= 1), len(trial.fractions))
    return trial.deviates[name][first:], trial.units[name][first:]


def _tuned(trial: Trial, name: str) -> tuple[float, float]:
    return trial.terms.reserved_alpha, trial.planned_units[name]


def _rho(trial: Trial) -> float:
    return float(trial.terms.method_options.get("spending_power", 2.0))


methods.register("group_sequential")(Method(judge, is_sequential=True))
