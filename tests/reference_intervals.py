"""Answers the reference cases that ask for an interval of rates, or a boundary."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.experiments.statistics.confidence_sequences import NormalMixture
from tasks.experiments.statistics.lift import fieller_lift, katz_ratio
from tasks.experiments.statistics.moments import Proportion
from tasks.experiments.statistics.proportions import newcombe_interval, wald_interval
from tasks.experiments.statistics.rates import (
    Interval,
    agresti_coull_interval,
    clopper_pearson_interval,
    jeffreys_interval,
    wilson_interval,
)
from tasks.experiments.statistics.scores import score_difference, score_ratio
from tests.reference_inputs import Fields, alpha, answers, estimates, proportion

OfOne = Callable[[Proportion, float], Interval]
OfTwo = Callable[[Proportion, Proportion, float], Interval | None]

ONE_RATE: dict[str, OfOne] = {
    "wilson": wilson_interval,
    "agresti_coull": agresti_coull_interval,
    "clopper_pearson": clopper_pearson_interval,
    "jeffreys": jeffreys_interval,
}
DIFFERENCES: dict[str, OfTwo] = {
    "newcombe_hybrid_score": newcombe_interval,
    "wald": wald_interval,
    "agresti_caffo": partial(wald_interval, added=1),
    # The cases of this method are figures of statsmodels 0.15.
    "miettinen_nurminen_score": partial(score_difference, as_statsmodels=True),
}
RATIOS: dict[str, OfTwo] = {"katz_log": katz_ratio, "score": score_ratio}


@answers("one_prop_ci")
def one_prop_ci(inputs: Fields, options: Fields) -> Fields:
    """Interval of one proportion."""
    sample = proportion(inputs)
    lower, upper = ONE_RATE[options["method"]](sample, alpha(options))
    return {"rate": sample.rate, "ci_lower": lower, "ci_upper": upper}


@answers("two_prop_diff_ci")
def two_prop_diff_ci(inputs: Fields, options: Fields) -> Fields:
    """Interval of a difference of proportions."""
    control, treatment = proportion(inputs["control"]), proportion(inputs["treatment"])
    found = DIFFERENCES[options["method"]](control, treatment, alpha(options))
    difference = (treatment.rate or 0.0) - (control.rate or 0.0)
    lower, upper = found or (None, None)
    return {"diff": difference, "ci_lower": lower, "ci_upper": upper}


@answers("relative_risk_ci")
def relative_risk_ci(inputs: Fields, options: Fields) -> Fields:
    """Interval of a ratio of proportions."""
    control, treatment = proportion(inputs["control"]), proportion(inputs["treatment"])
    lower, upper = RATIOS[options["method"]](control, treatment, alpha(options)) or (None, None)
    ratio = (treatment.rate or 0.0) / control.rate if control.rate else None
    return {"ratio": ratio, "ci_lower": lower, "ci_upper": upper}


@answers("relative_lift_fieller")
def relative_lift_fieller(inputs: Fields, options: Fields) -> Fields:
    """Lift with Fieller's interval."""
    found = fieller_lift(*estimates(inputs), alpha(options))
    return {"lift": found.lift, "ci_lower": found.lower, "ci_upper": found.upper}


@answers("normal_mixture_bound")
def normal_mixture_bound(inputs: Fields, options: Fields) -> Fields:
    """A normal mixture boundary."""
    mixture = NormalMixture.tuned(options["v_opt"], options["alpha_opt"], options["sides"])
    return {
        "rho": mixture.rho,
        "bound": mixture.bound(inputs["v"], alpha(options)),
        "log_mixture_at_s10": mixture.log_mixture(10.0, inputs["v"]),
    }
