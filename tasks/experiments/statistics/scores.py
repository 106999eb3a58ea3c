"""Score intervals of two proportions: every null value that a score test would not reject.

The variance is that of the rates which are most likely under the null value, so the intervals hold
at zero and small counts too. Sources: Miettinen and Nurminen (1985), Koopman (1984).
"""

from __future__ import annotations

from collections.abc import Callable
from math import acos, copysign, cos, inf, pi, sqrt

from scipy import optimize, special

from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.rates import Interval

_EDGE = 1e-12  # so near to -1 and 1 is a difference looked for
_POWERS = 60.0  # ratios are told apart between 2^-60 and 2^60
_FURTHEST = 1e6


def score_difference(
    control: Proportion, treatment: Proportion, alpha: float = 0.05, *, as_statsmodels: bool = False
) -> Interval | None:
    """Interval of treatment minus control, -1 to 1; None where an arm is empty.

    ``as_statsmodels`` repeats the figures of statsmodels up to 0.15, whose cubic has the control's
    successes where its units belong; only for comparing with them.
    """
    if control.rate is None or treatment.rate is None:
        return None
    difference = treatment.rate - control.rate

    def deviate(delta: float) -> float:
        rate = _rate_given_difference(control, treatment, delta, as_statsmodels)
        rates = rate, min(1.0, max(0.0, rate + delta))
        return _deviate(difference - delta, rates, 1.0, control, treatment)

    lower, upper = _inverted(deviate, (-1 + _EDGE, 1 - _EDGE), alpha)
    return lower, upper


def score_ratio(
    control: Proportion, treatment: Proportion, alpha: float = 0.05, *, continuity: bool = False
) -> Interval | None:
    """Interval of treatment / control, 0 to infinity; None where an arm is empty.

    With ``continuity`` each arm is given the half unit that speaks for the null value: it then
    covers at least 1 - alpha even with ten units an arm.
    """
    if control.rate is None or treatment.rate is None:
        return None
    first, second = control.rate, treatment.rate

    def deviate(power: float) -> float:
        ratio = 2.0**power
        rate = _rate_given_ratio(control, treatment, ratio)
        rates = rate, min(1.0, ratio * rate)
        gap = second - ratio * first
        step = (0.5 / treatment.n + 0.5 * ratio / control.n) if continuity else 0.0
        gap = copysign(max(0.0, abs(gap) - step), gap)
        return _deviate(gap, rates, ratio, control, treatment)

    lower, upper = _inverted(deviate, (-_POWERS, _POWERS), alpha)
    return 0.0 if lower <= -_POWERS else 2.0**lower, inf if upper >= _POWERS else 2.0**upper


def _inverted(
    deviate: Callable[[float], float], ends: tuple[float, float], alpha: float
) -> Interval:
    """Where the falling deviate passes z and -z; an end where it does not."""
    z = -float(special.ndtri(alpha / 2))

    def passes(level: float) -> float:
        return float(optimize.brentq(lambda x: deviate(x) - level, *ends, xtol=1e-14, rtol=1e-13))

    lower = passes(z) if deviate(ends[0]) > z else ends[0]
    upper = passes(-z) if deviate(ends[1]) < -z else ends[1]
    return lower, upper


def _deviate(
    gap: float,
    rates: tuple[float, float],
    ratio: float,
    control: Proportion,
    treatment: Proportion,
) -> float:
    n = control.n + treatment.n
    first, second = rates
    variance = second * (1 - second) / treatment.n + ratio**2 * first * (1 - first) / control.n
    error = sqrt(max(0.0, variance) * n / max(n - 1, 1))
    if error * _FURTHEST <= abs(gap):
        return copysign(_FURTHEST, gap) if gap else 0.0
    return gap / error


def _rate_given_difference(
    control: Proportion, treatment: Proportion, delta: float, as_statsmodels: bool
) -> float:
    """The control's most likely rate if the treatment's is ``delta`` higher: a cubic's root."""
    n = control.n + treatment.n
    share, successes = control.n / n, (control.successes + treatment.successes) / n
    hits = control.successes / n
    b = (1 + share) * delta - 1 - successes
    c = ((hits if as_statsmodels else share) * delta - 1 - 2 * hits) * delta + successes
    d = hits * delta * (1 - delta)
    q = b**3 / 27 - b * c / 6 + d / 2
    p = copysign(sqrt(max(0.0, b * b / 9 - c / 3)), q)
    angle = (pi + acos(min(1.0, max(-1.0, q / p**3)))) / 3 if p else pi / 2
    rate = 2 * p * cos(angle) - b / 3
    return min(1.0, 1.0 - delta, max(0.0, -delta, rate))


def _rate_given_ratio(control: Proportion, treatment: Proportion, ratio: float) -> float:
    """The control's most likely rate if the treatment's is ``ratio`` times it: a quadratic's."""
    a = (control.n + treatment.n) * ratio
    b = treatment.n * ratio + treatment.successes + control.n + control.successes * ratio
    c = control.successes + treatment.successes
    # Written without the difference of two large numbers.
    return min(1.0, 1.0 / ratio, 2 * c / (b + sqrt(max(0.0, b * b - 4 * a * c))))
