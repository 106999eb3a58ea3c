"""Metric kinds: how two arms of a metric are compared. Open by registry.

A kind is one function from the sufficient statistics of control and treatment to a Comparison:

    @metrics.register("mean")
    def compare_means(control, treatment, alpha): ...

Other packages register theirs by the entry point group ``headway.metrics``.
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import SampleMean, as_proportion, mean_interval
from tasks.experiments.statistics.proportions import compare_proportions
from tasks.experiments.statistics.rates import wilson_interval
from tasks.registry import Registry

Compare = Callable[[SampleMean, SampleMean, float], Comparison]

metrics: Registry[Compare] = Registry("metric kind", "headway.metrics")


@metrics.register("mean")
def compare_means(control: SampleMean, treatment: SampleMean, alpha: float) -> Comparison:
    """Compare the mean value per unit by Welch's t test."""
    return welch(control, treatment, alpha)


@metrics.register("proportion")
def compare_rates(control: SampleMean, treatment: SampleMean, alpha: float) -> Comparison:
    """Compare the share of units that did it by the pooled z test with Newcombe's interval."""
    return compare_proportions(as_proportion(control), as_proportion(treatment), alpha)


def arm_interval(kind: str, moments: SampleMean, alpha: float) -> tuple[float | None, float | None]:
    """Return the interval of one arm's own value: Wilson's for a proportion, else Student's t."""
    if kind == "proportion":
        return wilson_interval(as_proportion(moments), alpha)
    return mean_interval(moments, alpha) or (None, None)
