"""How large a difference can be found, and how surely: power of the two-sample tests.

Effects are in standard deviations (Cohen's d), or arcsine differences of rates (Cohen's h); sizes
may be fractions of units. Two-sided power counts both tails, so at no effect it is alpha.
"""

from __future__ import annotations

from math import asin, isnan, sin, sqrt

from scipy import optimize, special

from tasks.experiments.statistics.comparison import Alternative

_LARGEST_DEVIATE = 100.0
_SMALLEST_EFFECT = 1e-8


def normal_power(
    effect: float,
    n_control: float,
    n_treatment: float,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> float:
    """Power of the z test at this effect."""
    return power_at_deviate(effect * _root_size(n_control, n_treatment), alpha, alternative)


def power_at_deviate(
    expected_z: float, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> float:
    """Power of a z test whose statistic is expected to be ``expected_z``."""
    if alternative == "two-sided":
        z = float(special.ndtri(alpha / 2))
        return float(special.ndtr(z + expected_z) + special.ndtr(z - expected_z))
    sign = 1.0 if alternative == "larger" else -1.0
    return float(special.ndtr(special.ndtri(alpha) + sign * expected_z))


def t_power(
    effect: float,
    n_control: float,
    n_treatment: float,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> float:
    """Power of the t test at this effect, by the noncentral t distribution."""
    dof = n_control + n_treatment - 2
    shift = effect * _root_size(n_control, n_treatment)
    if alternative == "two-sided":
        t = -float(special.stdtrit(dof, alpha / 2))
        return _noncentral_t(dof, shift, -t) + _noncentral_t(dof, -shift, -t)
    sign = 1.0 if alternative == "larger" else -1.0
    return _noncentral_t(dof, -sign * shift, float(special.stdtrit(dof, alpha)))


def smallest_effect(
    n_control: float,
    n_treatment: float,
    alpha: float = 0.05,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
    *,
    is_normal: bool = False,
    precision: float = 1e-14,
) -> float:
    """The effect that is found with this power: the minimum detectable one.

    ``precision`` is that of the root; statsmodels stops at 1e-5, so only then are its digits ours.
    """
    of_effect = normal_power if is_normal else t_power
    sign = -1.0 if alternative == "smaller" else 1.0

    def lacking(effect: float) -> float:
        return of_effect(sign * effect, n_control, n_treatment, alpha, alternative) - power

    highest = 1.0
    while lacking(highest) < 0:
        highest *= 2
    return sign * float(optimize.brentq(lacking, _SMALLEST_EFFECT, highest, xtol=precision))


def rate_at_effect(baseline_rate: float, cohen_h: float) -> float:
    """The rate that is this arcsine difference away from the baseline."""
    angle = asin(sqrt(baseline_rate)) + cohen_h / 2
    return sin(min(max(angle, 0.0), asin(1.0))) ** 2


def missing_share(
    expected_z: float, alpha: float = 0.05, power: float = 0.8, goals: int = 1
) -> float:
    """How many times the units so far must still come until this power is reached; 0 if it is.

    ``expected_z`` is the effect looked for in standard errors of today. With several goals each
    needs power^(1/goals), so that all are found together.
    """
    needed = power ** (1 / goals)
    if power_at_deviate(expected_z, alpha) >= needed:
        return 0.0
    if expected_z == 0:
        return float("inf")
    z = optimize.brentq(lambda z: power_at_deviate(z, alpha) - needed, 0.0, _LARGEST_DEVIATE)
    return (float(z) / expected_z) ** 2 - 1


def _root_size(n_control: float, n_treatment: float) -> float:
    return sqrt(n_control * n_treatment / (n_control + n_treatment))


def _noncentral_t(dof: float, shift: float, t: float) -> float:
    found = float(special.nctdtr(dof, shift, t))
    if not isnan(found):
        return found
    # Where its series fails the normal limit is exact. Source: Abramowitz and Stegun 26.7.10.
    return float(special.ndtr((t * (1 - 0.25 / dof) - shift) / sqrt(1 + t * t / (2 * dof))))
