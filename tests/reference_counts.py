"""Answers the reference cases on tables of counts, effect sizes and moments."""

from __future__ import annotations

from math import log10

from tasks.experiments.statistics.comparison import normal_log10_p, normal_p_value
from tasks.experiments.statistics.estimates import compare, of_mean
from tasks.experiments.statistics.means import cohen_d, hedges_g
from tasks.experiments.statistics.moments import Proportion, sample_mean
from tasks.experiments.statistics.proportions import chi_square, cohen_h, fisher_exact, pooled_z
from tasks.experiments.statistics.srm import sample_ratio, sequential_ratio
from tests.reference_inputs import Fields, alpha, alternative, answers, moments, proportion


@answers("two_prop_z_pooled")
def two_prop_z_pooled(inputs: Fields, options: Fields) -> Fields:
    """Pooled z test of two proportions."""
    z = pooled_z(proportion(inputs["control"]), proportion(inputs["treatment"]))
    if z is None:
        return {"z": None, "p_value": None, "significant": False}
    p_value = normal_p_value(z, alternative(options))
    tail = {"p_value_log10": normal_log10_p(z), "significant": p_value < alpha(options)}
    return {"z": z, "p_value": p_value} | tail


@answers("two_prop_chi2")
def two_prop_chi2(inputs: Fields, options: Fields) -> Fields:
    """Chi-square of a 2 × 2 table."""
    arms = [proportion(inputs["control"]), proportion(inputs["treatment"])]
    found = chi_square(arms, continuity=options.get("continuity_correction", False))
    return {"chi2": found.statistic, "dof": found.dof, "p_value": found.p_value}


@answers("multi_variant_chi2")
def multi_variant_chi2(inputs: Fields, options: Fields) -> Fields:
    """Chi-square of a k × 2 table."""
    found = chi_square([proportion(arm) for arm in inputs["variants"]])
    return {"chi2": found.statistic, "dof": found.dof, "p_value": found.p_value}


@answers("fisher_exact")
def exact(inputs: Fields, options: Fields) -> Fields:
    """Fisher's exact test of a table, the treatment first."""
    treatment, control = (Proportion(sum(row), row[0]) for row in inputs["table"])
    return {"p_value": fisher_exact(control, treatment, alternative(options))}


@answers("srm_chi2")
def srm_chi2(inputs: Fields, options: Fields) -> Fields:
    """Sample ratio mismatch at one look."""
    found = sample_ratio(inputs["observed"], inputs["weights"])
    return {
        "chi2": found.chi2,
        "dof": found.dof,
        "p_value": found.p_value,
        "p_value_log10": log10(found.p_value) if found.p_value else None,
        "srm": found.is_mismatch,
    }


@answers("srm_sequential")
def srm_sequential(inputs: Fields, options: Fields) -> Fields:
    """Sample ratio mismatch after every batch."""
    found = sequential_ratio(inputs["batches"], inputs["weights"], options["concentration"])
    return {"p_values": list(found.p_values), "bayes_factors": list(found.bayes_factors)}


@answers("effect_size_cohen_h")
def effect_size_h(inputs: Fields, options: Fields) -> Fields:
    """Cohen's h."""
    return {"cohen_h": cohen_h(inputs["control_rate"], inputs["treatment_rate"])}


@answers("effect_size_cohen_d")
def effect_size_d(inputs: Fields, options: Fields) -> Fields:
    """Cohen's d, Hedges' g and the lift."""
    arms = moments(inputs["control"]), moments(inputs["treatment"])
    lift = compare(of_mean(arms[0]), of_mean(arms[1])).lift
    return {"cohen_d": cohen_d(*arms), "hedges_g": hedges_g(*arms), "relative_uplift": lift}


@answers("variance_stability")
def variance_stability(inputs: Fields, options: Fields) -> Fields:
    """Moments of values far from zero, merged from two halves."""
    formula = compile(inputs["generator"].split(",")[0], "generator", "eval")
    values = [eval(formula, {}, {"i": i}) for i in range(inputs["n"])]
    half = len(values) // 2
    merged = sample_mean(values[:half]) + sample_mean(values[half:])
    return {"mean": merged.mean, "variance": merged.variance}
