"""What comes out of comparing a treatment with the control."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, inf, isfinite, log
from typing import Literal

from scipy import special

Alternative = Literal["two-sided", "larger", "smaller"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment minus control. A field is None where it is undefined: never significant."""

    difference: float | None = None
    standard_error: float | None = None
    statistic: float | None = None  # t or z, signed
    dof: float | None = None  # None for a normal statistic
    p_value: float | None = None
    z: float | None = None  # the normal deviate with the same two-sided p-value, signed
    lower: float | None = None  # interval of the difference
    upper: float | None = None
    lift: float | None = None  # difference / |control|
    effect_size: float | None = None  # Hedges g or Cohen h

    def is_significant(self, alpha: float = 0.05) -> bool:
        """Tell whether the fixed-sample p-value is below ``alpha``; undefined never is."""
        return self.p_value is not None and self.p_value < alpha


def relative_lift(control: float | None, treatment: float | None) -> float | None:
    """(treatment - control) / |control|; None where the control is unknown or all but zero."""
    if not control or treatment is None:
        return None
    lift = (treatment - control) / abs(control)
    return lift if isfinite(lift) else None


def normal_p_value(z: float, alternative: Alternative = "two-sided") -> float:
    """P-value of a normal deviate from the survival function, so that tails stay exact."""
    if alternative == "two-sided":
        return min(1.0, 2 * float(special.ndtr(-abs(z))))
    return float(special.ndtr(-z if alternative == "larger" else z))


def normal_log10_p(z: float) -> float:
    """Log10 of the two-sided p-value of a normal deviate; exact far below 1e-308."""
    return min(0.0, (log(2) + float(special.log_ndtr(-abs(z)))) / log(10))


def normal_deviate(p_value: float, sign: float) -> float | None:
    """Return the signed z with this two-sided p-value; None where it is beyond doubles."""
    if p_value <= 0:
        return None
    z = -float(special.ndtri_exp(log(p_value) - log(2))) if p_value < 1 else 0.0
    return copysign(z, sign) if abs(z) != inf else None
