"""How many units a plan needs: from the control as it is now and the effect worth finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, exp, log, log1p, pi, sqrt
from typing import Annotated, Any

from pydantic import Field
from scipy import special

from tasks.experiments.definition.words import LARGEST_COUNT, Planned
from tasks.experiments.statistics.sizing import Sample, plan_means, plan_rates

RATES = {"proportion", "retention"}
# More looks than this change the bound by less than a thousandth (hourly for two weeks).
_LOOKS = 336


class Baseline(Planned):
    """The control as it is now, for one metric."""

    mean: Annotated[float, Field(description="value of a unit; of a proportion: the rate")]
    standard_deviation: Annotated[
        float | None, Field(gt=0, description="of the units' values; a proportion needs none")
    ] = None


def sample_to_plan(
    kind: str,
    baseline: Baseline,
    minimum_effect: float,
    shares: Sequence[float],
    *,
    alpha: float,
    power: float,
    method: str,
    options: Mapping[str, Any],
    quantile: float | None = None,
) -> Sample:
    """The sample that finds a relative effect with this power, looked at hourly by the method.

    Args:
        kind: the metric's kind; rates are compared by the z test, all others by Welch's.
        baseline: of the control.
        minimum_effect: relative to the baseline's mean, above 0; what is found may be a loss.
        shares: of the traffic, the control first, all above 0.
        alpha: error of the looks up to the planned end, over all arms.
        power: for each arm.
        method: a registered method; its bound says what looking often costs.
        options: of the method.
        quantile: which one, where the kind is `quantile`.

    Raises ValueError where no sample can be computed.
    """
    difference = abs(baseline.mean) * minimum_effect
    if not difference > 0:
        raise ValueError("the baseline's mean is 0, so nothing is relative to it")
    rho = float(options.get("spending_power", 2))
    looks = _LOOKS if method == "group_sequential" else 1
    try:
        if kind in RATES:
            moved = _rate(baseline.mean, difference)
            sample = plan_rates(baseline.mean, moved, looks, shares, alpha, power, rho)
        else:
            deviation = _deviation(baseline, quantile)
            sample = plan_means(deviation, difference, looks, shares, alpha, power, rho)
        sample = _for_sequences(sample, power) if method == "confidence_sequence" else sample
    except ArithmeticError:
        raise ValueError("no sample is large enough for an effect this small") from None
    if not sample.total <= LARGEST_COUNT:
        raise ValueError("no sample is large enough for an effect this small")
    return sample


def _rate(baseline: float, difference: float) -> float:
    """The difference that is planned for: upwards, or downwards where up is out of room."""
    if not 0 < baseline < 1:
        raise ValueError(f"the rate of the baseline must lie between 0 and 1, not {baseline:g}")
    if baseline + difference < 1:
        return difference
    if baseline - difference > 0:
        return -difference
    raise ValueError("minimum_effect would take the rate out of 0 to 1")


def _deviation(baseline: Baseline, quantile: float | None) -> float:
    if baseline.standard_deviation is None:
        raise ValueError("the baseline needs a standard_deviation")
    if quantile is None:
        return baseline.standard_deviation
    # Asymptotic variance of a sample quantile, q(1 - q) / f², of normal values.
    density = exp(-(float(special.ndtri(quantile)) ** 2) / 2) / sqrt(2 * pi)
    return baseline.standard_deviation * sqrt(quantile * (1 - quantile)) / density


def _for_sequences(sample: Sample, power: float) -> Sample:
    """The fixed sample, enlarged to cross a sequence tuned for its end with this power.

    On the safe side: that it may be crossed earlier is left out.
    """
    alpha = sample.alpha
    spread = -2 * log(alpha) + log(-2 * log(alpha) + 1)
    bound = sqrt(2 * (spread + 1) / spread * (log1p(spread) / 2 - log(alpha)))
    z_power = float(special.ndtri(power))
    factor = ((bound + z_power) / (z_power - float(special.ndtri(alpha / 2)))) ** 2
    control, treatment = ceil(sample.control * factor), ceil(sample.treatment * factor)
    total = ceil(sample.total * factor)
    return replace(sample, control=control, treatment=treatment, total=total, inflation=factor)
