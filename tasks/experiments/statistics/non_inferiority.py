"""Guardrails: is the treatment, at worst, not worse than the control by more than a margin?"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

from tasks.experiments.statistics.estimates import Estimate, compare


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The test of "worse by the margin or more"; None = undefined, and never non-inferior."""

    difference: float | None = None
    margin: float | None = None  # the difference that counts as worse, with its sign
    statistic: float | None = None
    p_value: float | None = None
    limit: float | None = None  # the worst difference that is still plausible, one-sided

    def is_proven(self, alpha: float = 0.05) -> bool:
        """Tell whether the treatment is non-inferior at this alpha; undefined never is."""
        return self.p_value is not None and self.p_value < alpha


def non_inferiority(
    control: Estimate,
    treatment: Estimate,
    margin: float,
    alpha: float = 0.05,
    *,
    is_higher_better: bool = True,
    is_relative: bool = False,
    is_normal: bool = False,
) -> NonInferiority:
    """Test treatment against control less the margin, one-sided, with unpooled variances.

    Args:
        control: the control.
        treatment: the treatment.
        margin: how much worse is still all right, 0 or more; a share of the control's value with
            ``is_relative``.
        alpha: of one side.
        is_higher_better: whether worse means lower.
        is_relative: see margin.
        is_normal: use the normal limit, for rates, instead of Welch's degrees of freedom.
    """
    found = compare(control, treatment)
    if found.difference is None or found.standard_error is None or found.dof is None:
        return NonInferiority(found.difference)
    sign = 1.0 if is_higher_better else -1.0
    null = -sign * margin * (abs(control.value) if is_relative else 1.0)
    statistic = (found.difference - null) / found.standard_error
    if is_normal:
        p_value = float(special.ndtr(-sign * statistic))
        quantile = float(special.ndtri(alpha))
    else:
        p_value = float(special.stdtr(found.dof, -sign * statistic))
        quantile = float(special.stdtrit(found.dof, alpha))
    limit = found.difference + sign * quantile * found.standard_error
    return NonInferiority(found.difference, null, statistic, p_value, limit)
