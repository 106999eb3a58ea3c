"""Answers the reference cases about plans: sizes, power, bounds, several tests at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from tasks.experiments.statistics import multiplicity
from tasks.experiments.statistics.estimates import compare
from tasks.experiments.statistics.power import (
    missing_share,
    normal_power,
    power_at_deviate,
    rate_at_effect,
    smallest_effect,
    t_power,
)
from tasks.experiments.statistics.proportions import cohen_h
from tasks.experiments.statistics.sequential import group_sequential_bounds
from tasks.experiments.statistics.sizing import (
    power_of_rates,
    size_for_effect,
    size_for_rates,
    size_for_shares,
)
from tests.reference_inputs import Fields, alpha, alternative, answers, estimates

STATSMODELS_PRECISION = 1e-5  # what the expected effects of the z test were solved to

ADJUSTMENTS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    name: getattr(multiplicity, name)
    for name in ("bonferroni", "holm", "hochberg", "benjamini_hochberg", "benjamini_yekutieli")
}


@answers("multiple_testing")
def multiple_testing(inputs: Fields, options: Fields) -> Fields:
    """Adjusted p-values."""
    adjusted = ADJUSTMENTS[options["method"]](inputs["p_values"])
    return {"adjusted": adjusted, "reject": [p <= alpha(options) for p in adjusted]}


@answers("group_sequential_bounds")
def bounds(inputs: Fields, options: Fields) -> Fields:
    """Bounds of a group-sequential test under a power spending function."""
    rho = float(options["spending"].removeprefix("alpha * t^"))
    found = group_sequential_bounds(
        inputs["information_fractions"], alpha(options), rho, options["sides"]
    )
    return {"z_bounds": [bound.z for bound in found]}


@answers("sample_size_proportion")
def sample_size_proportion(inputs: Fields, options: Fields) -> Fields:
    """Sizes to find a difference of rates, in three conventions."""
    rate, level, power = inputs["baseline_rate"], alpha(options), options["power"]
    difference = inputs.get("absolute_mde") or rate * inputs["relative_mde"]
    ratio = options.get("ratio", 1.0)
    if options["method"].startswith("unpooled"):
        treatments = inputs["variants"] - 1
        shares = [treatments, *[1] * treatments]
        total = size_for_shares(rate * (1 - rate), difference, shares, level, power)
        each = [ceil(ceil(total) * share / sum(shares)) for share in shares]
        return {"n_total": ceil(total), "n_per_variant": each}
    if options["method"].startswith("pooled"):
        n = size_for_rates(rate, difference, level, power, ratio)
        reached = power_of_rates(rate, difference, ceil(n), level, ratio)
        return {"n_group1_exact": n, "n_group1": ceil(n), "power_at_n": reached}
    effect = cohen_h(rate, rate + difference)
    n = size_for_effect(effect, level, power, ratio, alternative(options), is_normal=True)
    return {"n_group1_exact": n, "n_group1": ceil(n), "n_group2": ceil(n * ratio)}


@answers("sample_size_mean")
def sample_size_mean(inputs: Fields, options: Fields) -> Fields:
    """Sizes to find a difference of means."""
    effect = inputs["baseline_mean"] * inputs["relative_mde"] / inputs["std"]
    asked = effect, alpha(options), options["power"], options["ratio"], alternative(options)
    by_t, by_normal = size_for_effect(*asked), size_for_effect(*asked, is_normal=True)
    sizes = {"n_group1_t_exact": by_t, "n_group1_t": ceil(by_t), "n_group1_normal_exact": by_normal}
    return sizes | {"cohen_d": effect}


@answers("mde_mean")
def mde_mean(inputs: Fields, options: Fields) -> Fields:
    """The smallest effect on a mean that is found."""
    n = inputs["n_group1"]
    asked = n, n * inputs["ratio"], alpha(options), options["power"], alternative(options)
    by_normal = smallest_effect(*asked, is_normal=True, precision=STATSMODELS_PRECISION)
    return {"mde_cohen_d_t": smallest_effect(*asked), "mde_cohen_d_normal": by_normal}


@answers("mde_proportion")
def mde_proportion(inputs: Fields, options: Fields) -> Fields:
    """The smallest higher rate that is found."""
    n, rate = inputs["n_per_group"], inputs["baseline_rate"]
    asked = n, n, alpha(options), options["power"]
    effect = smallest_effect(*asked, is_normal=True, precision=STATSMODELS_PRECISION)
    found = rate_at_effect(rate, effect)
    sizes = {"mde_absolute": found - rate, "mde_relative": found / rate - 1}
    return {"mde_cohen_h": effect, "treatment_rate": found} | sizes


@answers("power")
def power(inputs: Fields, options: Fields) -> Fields:
    """Power of a t or z test."""
    n = inputs["n_per_group"]
    is_t = options.get("test", "t").endswith("t")
    effect = inputs["cohen_d"] if "cohen_d" in inputs else inputs["cohen_h"]
    return {"power": (t_power if is_t else normal_power)(effect, n, n, alpha(options))}


@answers("mid_experiment_power")
def mid_experiment_power(inputs: Fields, options: Fields) -> Fields:
    """Power to find a lift with the units so far, and how many more are needed."""
    arms = estimates(inputs)
    found = compare(*arms, is_relative=True)
    if found.standard_error is None:
        return {"power_now": None, "scaling_factor": None, "additional_users": None}
    level = alpha(options) / (options["num_variations"] - 1 if options.get("bonferroni") else 1)
    z = options["target_relative_mde"] / found.standard_error
    more = missing_share(z, level, options["target_power"])
    return {
        "power_now": power_at_deviate(z, level),
        "scaling_factor": more,
        "additional_users": more * (arms[0].n + arms[1].n),
    }
