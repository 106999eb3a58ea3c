"""How many units a plan needs: from the control as it is now and the effect worth finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, exp, log, log1p, sqrt
from typing import Annotated, Any

from pydantic import Field
from scipy import special

from tasks.experiments.definition.words import LARGEST_COUNT, Planned
from tasks.experiments.statistics.sizing import Design, Sample, plan_means, plan_rates

RATES = {"proportion", "retention"}
# More looks than this change the bound by less than a thousandth (hourly for two weeks).
_LOOKS = 336
_SMALLEST_EFFECT, _LARGEST_EFFECT = 1e-6, 1e3
_HALVINGS = 50
# Values are not quite normal: drawn by the hour, the plan without it has a power of .799.
_SPARE = 1.005


class Baseline(Planned):
    """The control as it is now, for one metric."""

    mean: Annotated[
        float,
        Field(description="value of a unit; of a proportion: the rate; else the ratio, quantile"),
    ]
    standard_deviation: Annotated[
        float | None,
        Field(
            gt=0,
            description="of the units' values; of a ratio or a quantile: its standard error times "
            "the root of n; a proportion needs none",
        ),
    ] = None
    correlation: Annotated[
        float | None,
        Field(gt=-1, lt=1, description="of the values with the metric's covariate, for CUPED"),
    ] = None


@dataclass(frozen=True)
class Sizing:
    """What decides how many units find an effect.

    ``shares`` of the traffic have the control first and are all above 0; ``alpha`` is the error of
    all looks up to the planned end, over all arms; ``power`` that of each arm.
    """

    kind: str
    baseline: Baseline
    shares: tuple[float, ...]
    alpha: float
    power: float
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, effect: float) -> Sample:
        """The sample that finds an effect relative to the baseline, looked at hourly.

        Rates are compared by the z test, all others by Welch's, less what the covariate explains.
        Raises ValueError where no sample can be computed.
        """
        difference = abs(self.baseline.mean) * effect
        if not difference > 0:
            raise ValueError("the baseline's mean is 0, so nothing is relative to it")
        try:
            sample = self._of_difference(difference)
        except ArithmeticError:
            raise ValueError("no sample is large enough for an effect this small") from None
        if not sample.total <= LARGEST_COUNT:
            raise ValueError("no sample is large enough for an effect this small")
        return sample

    def _of_difference(self, difference: float) -> Sample:
        looks = _LOOKS if self.method == "group_sequential" else 1
        rho = float(self.options.get("spending_power", 2))
        design = Design(looks, self.shares, self.alpha, self.power, rho)
        if self.kind in RATES:
            sample = plan_rates(
                self.baseline.mean, _rate_moved(self.baseline.mean, difference), design
            )
        else:
            sample = plan_means(_deviation(self.baseline), difference, design)
        sample = _scaled(sample, 1 - (self.baseline.correlation or 0.0) ** 2)
        if self.method == "confidence_sequence":
            return _for_sequences(sample, self.power)
        return _enlarged(sample, _SPARE) if looks > 1 else sample


def smallest_effect(sizing: Sizing, total: int) -> float | None:
    """The smallest relative effect that ``total`` units find; None where they find none."""
    low, high = log(_SMALLEST_EFFECT), log(_LARGEST_EFFECT)
    if sizing.kind in RATES:
        rate = sizing.baseline.mean
        high = log(max(1 - rate, rate) / rate) - 1e-9
    if not _finds(sizing, exp(high), total):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _finds(sizing, exp(middle), total) else (middle, high)
    return exp(high)


def _finds(sizing: Sizing, effect: float, total: int) -> bool:
    try:
        return sizing.sample(effect).total <= total
    except ValueError:
        return False


def _rate_moved(baseline: float, difference: float) -> float:
    """The difference that is planned for: upwards, or downwards where up is out of room."""
    if not 0 < baseline < 1:
        raise ValueError(f"the rate of the baseline must lie between 0 and 1, not {baseline:g}")
    if baseline + difference < 1:
        return difference
    if baseline - difference > 0:
        return -difference
    raise ValueError("the effect would take the rate out of 0 to 1")


def _deviation(baseline: Baseline) -> float:
    if baseline.standard_deviation is None:
        raise ValueError("the baseline needs a standard_deviation")
    return baseline.standard_deviation


def _for_sequences(sample: Sample, power: float) -> Sample:
    """The fixed sample, enlarged to cross a sequence tuned for its end with this power.

    On the safe side: that it may be crossed earlier is left out.
    """
    alpha = sample.alpha
    spread = -2 * log(alpha) + log(-2 * log(alpha) + 1)
    bound = sqrt(2 * (spread + 1) / spread * (log1p(spread) / 2 - log(alpha)))
    z_power = float(special.ndtri(power))
    factor = ((bound + z_power) / (z_power - float(special.ndtri(alpha / 2)))) ** 2
    return _enlarged(sample, factor)


def _enlarged(sample: Sample, factor: float) -> Sample:
    """More units for the same: what looking costs."""
    return replace(_scaled(sample, factor), inflation=sample.inflation * factor)


def _scaled(sample: Sample, factor: float) -> Sample:
    """The sample for so many times the variance."""
    return replace(
        sample,
        control=ceil(sample.control * factor),
        treatment=ceil(sample.treatment * factor),
        total=ceil(sample.total * factor),
        fixed_total=sample.fixed_total * factor,
    )
