"""Means: Welch's t test from centred moments, and the effect sizes of means."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from tasks.experiments.statistics.comparison import Alternative, Comparison
from tasks.experiments.statistics.estimates import compare, of_mean
from tasks.experiments.statistics.moments import SampleMean


def welch(
    control: SampleMean,
    treatment: SampleMean,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Compare two means without assuming equal variances.

    Undefined, not significant, where an arm has fewer than two units or both have no variance
    (or none beyond what adding up constants leaves). Many at once: `estimates.compare_many`.
    Source: Welch (1947); degrees of freedom of Welch and Satterthwaite.
    """
    found = compare(of_mean(control), of_mean(treatment), alpha, alternative)
    if found.p_value is None:
        return found
    return replace(found, effect_size=hedges_g(control, treatment))


def cohen_d(control: SampleMean, treatment: SampleMean) -> float | None:
    """Difference in pooled standard deviations; None without variance."""
    dof = control.n + treatment.n - 2
    if dof < 1 or min(control.n, treatment.n) < 1:
        return None
    pooled = (control.m2 + treatment.m2) / dof
    return (treatment.mean - control.mean) / sqrt(pooled) if pooled > 0 else None


def hedges_g(control: SampleMean, treatment: SampleMean) -> float | None:
    """Cohen's d without its small-sample bias. Source: Hedges (1981), d(1 - 3/(4N - 9))."""
    d = cohen_d(control, treatment)
    return None if d is None else d * (1 - 3 / (4 * (control.n + treatment.n) - 9))
