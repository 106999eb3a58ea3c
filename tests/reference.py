"""Answers the numeric reference cases: one function for each kind of case.

``python -m tests.reference CASES.json`` prints the answer to every case of a kind known here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from math import log10
from pathlib import Path
from typing import Any

from tasks.experiments.statistics.comparison import normal_log10_p, normal_p_value
from tasks.experiments.statistics.means import cohen_d, hedges_g, welch
from tasks.experiments.statistics.moments import Proportion, SampleMean, sample_mean
from tasks.experiments.statistics.multiplicity import holm
from tasks.experiments.statistics.proportions import (
    chi_square,
    cohen_h,
    newcombe_interval,
    pooled_z,
)
from tasks.experiments.statistics.rates import wilson_interval
from tasks.experiments.statistics.sequential import group_sequential_bounds
from tasks.experiments.statistics.srm import sample_ratio

Fields = dict[str, Any]
Answer = Callable[[Fields, Fields], Fields]

ANSWERS: dict[str, Answer] = {}


def answers(kind: str) -> Callable[[Answer], Answer]:
    """Register the function that answers one kind of case from its inputs and options."""

    def add(function: Answer) -> Answer:
        if kind in ANSWERS:
            raise ValueError(f"{kind} is answered twice")
        ANSWERS[kind] = function
        return function

    return add


def answer(case: Fields) -> Fields:
    """Answer one case."""
    return ANSWERS[case["kind"]](case["inputs"], case.get("options", {}))


def is_close(answered: object, expected: object, tolerance: Fields) -> bool:
    """Tell whether |x - e| <= abs + rel·|e|; None is exactly None; lists element by element."""
    if isinstance(expected, list):
        return (
            isinstance(answered, list)
            and len(answered) == len(expected)
            and all(is_close(*pair, tolerance) for pair in zip(answered, expected, strict=True))
        )
    if isinstance(expected, bool) or expected is None:
        return answered is expected
    if not isinstance(expected, int | float) or not isinstance(answered, int | float):
        return answered == expected
    return bool(abs(answered - expected) <= tolerance["abs"] + tolerance["rel"] * abs(expected))


def moments(arm: Fields) -> SampleMean:
    """Read an arm given as n, mean and sample standard deviation."""
    return SampleMean(arm["n"], arm["mean"], (arm["std"] or 0.0) ** 2 * (arm["n"] - 1))


def proportion(arm: Fields) -> Proportion:
    """Read an arm given as n and conversions."""
    return Proportion(arm["n"], arm["conversions"])


@answers("welch_t")
def welch_t(inputs: Fields, options: Fields) -> Fields:
    """Welch's t test."""
    alternative = options.get("alternative", "two-sided")
    found = welch(moments(inputs["control"]), moments(inputs["treatment"]), alternative=alternative)
    return {
        "diff": found.difference,
        "se": found.standard_error,
        "t": found.statistic,
        "dof": found.dof,
        "p_value": found.p_value,
        "ci_lower": found.lower,
        "ci_upper": found.upper,
        "significant": found.is_significant(),
    }


@answers("two_prop_z_pooled")
def two_prop_z_pooled(inputs: Fields, options: Fields) -> Fields:
    """Pooled z test of two proportions."""
    z = pooled_z(proportion(inputs["control"]), proportion(inputs["treatment"]))
    if z is None:
        return {"z": None, "p_value": None, "significant": False}
    p_value = normal_p_value(z, options.get("alternative", "two-sided"))
    return {
        "z": z,
        "p_value": p_value,
        "p_value_log10": normal_log10_p(z),
        "significant": p_value < options.get("alpha", 0.05),
    }


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


@answers("two_prop_diff_ci")
def two_prop_diff_ci(inputs: Fields, options: Fields) -> Fields:
    """Interval of a difference of proportions, by Newcombe's hybrid score."""
    control, treatment = proportion(inputs["control"]), proportion(inputs["treatment"])
    lower, upper = newcombe_interval(control, treatment, options["alpha"])
    difference = (treatment.rate or 0.0) - (control.rate or 0.0)
    return {"diff": difference, "ci_lower": lower, "ci_upper": upper}


@answers("one_prop_ci")
def one_prop_ci(inputs: Fields, options: Fields) -> Fields:
    """Interval of one proportion, by Wilson's score."""
    sample = proportion(inputs)
    lower, upper = wilson_interval(sample, options["alpha"])
    return {"rate": sample.rate, "ci_lower": lower, "ci_upper": upper}


@answers("srm_chi2")
def srm_chi2(inputs: Fields, options: Fields) -> Fields:
    """Sample ratio mismatch."""
    found = sample_ratio(inputs["observed"], inputs["weights"])
    return {
        "chi2": found.chi2,
        "dof": found.dof,
        "p_value": found.p_value,
        "p_value_log10": log10(found.p_value) if found.p_value else None,
        "srm": found.is_mismatch,
    }


@answers("multiple_testing")
def multiple_testing(inputs: Fields, options: Fields) -> Fields:
    """Holm's adjusted p-values."""
    adjusted = holm(inputs["p_values"])
    return {"adjusted": adjusted, "reject": [p <= options["alpha"] for p in adjusted]}


@answers("group_sequential_bounds")
def bounds(inputs: Fields, options: Fields) -> Fields:
    """Bounds of a group-sequential test under a power spending function."""
    rho = float(options["spending"].removeprefix("alpha * t^"))
    found = group_sequential_bounds(
        inputs["information_fractions"], options["alpha"], rho, options["sides"]
    )
    return {"z_bounds": [bound.z for bound in found]}


@answers("effect_size_cohen_h")
def effect_size_h(inputs: Fields, options: Fields) -> Fields:
    """Cohen's h."""
    return {"cohen_h": cohen_h(inputs["control_rate"], inputs["treatment_rate"])}


@answers("effect_size_cohen_d")
def effect_size_d(inputs: Fields, options: Fields) -> Fields:
    """Cohen's d, Hedges' g and the lift."""
    control, treatment = moments(inputs["control"]), moments(inputs["treatment"])
    return {
        "cohen_d": cohen_d(control, treatment),
        "hedges_g": hedges_g(control, treatment),
        "relative_uplift": welch(control, treatment).lift,
    }


GENERATORS: dict[str, Callable[[int], float]] = {
    "1e9 + i%3, i<999": lambda i: 1e9 + i % 3,
    "1e8 + (i*7919)%11, i<5000": lambda i: 1e8 + (i * 7919) % 11,
    "1e12 + i, i<10": lambda i: 1e12 + i,
}


@answers("variance_stability")
def variance_stability(inputs: Fields, options: Fields) -> Fields:
    """Moments of values far from zero, merged from two halves."""
    values = [GENERATORS[inputs["generator"]](i) for i in range(inputs["n"])]
    half = len(values) // 2
    merged = sample_mean(values[:half]) + sample_mean(values[half:])
    return {"mean": merged.mean, "variance": merged.variance}


def main(path: str) -> None:
    """Print the answers to the cases of a file as JSON, by the id of the case."""
    cases = json.loads(Path(path).read_text("utf-8"))["cases"]
    print(json.dumps({case["id"]: answer(case) for case in cases if case["kind"] in ANSWERS}))


if __name__ == "__main__":
    main(sys.argv[1])
