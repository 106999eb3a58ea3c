"""Reads what the reference cases give into sufficient statistics; keeps who answers which kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.experiments.statistics.comparison import Alternative
from tasks.experiments.statistics.estimates import Estimate, of_mean, of_proportion
from tasks.experiments.statistics.moments import Proportion, SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Fields = dict[str, Any]
Answer = Callable[[Fields, Fields], Fields]

ANSWERS: dict[str, Answer] = {}

_ALTERNATIVES: dict[str, Alternative] = {"larger": "larger", "greater": "larger"}
_ALTERNATIVES |= {"smaller": "smaller", "less": "smaller"}


def answers(kind: str) -> Callable[[Answer], Answer]:
    """Register the function that answers one kind of case from its inputs and options."""

    def add(function: Answer) -> Answer:
        if kind in ANSWERS:
            raise ValueError(f"{kind} is answered twice")
        ANSWERS[kind] = function
        return function

    return add


def alternative(options: Fields) -> Alternative:
    """Which side a case tests; two-sided unless it says so."""
    return _ALTERNATIVES.get(options.get("alternative", ""), "two-sided")


def alpha(options: Fields) -> float:
    """The level of a case."""
    return float(options.get("alpha", 0.05))


def is_relative(options: Fields) -> bool:
    """Tell whether a case asks for the lift, not the difference."""
    return bool(options.get("difference_type") == "relative")


def proportion(arm: Fields) -> Proportion:
    """Read an arm given as n and conversions (or their sum)."""
    return Proportion(arm["n"], arm["conversions"] if "conversions" in arm else arm["sum"])


def moments(arm: Fields) -> SampleMean:
    """Read an arm given as n, mean and sample standard deviation, or as n and sums."""
    n = arm["n"]
    if "sum" not in arm:
        return SampleMean(n, arm["mean"], (arm["std"] or 0.0) ** 2 * (n - 1))
    squares = arm["sum"] if arm["type"] == "proportion" else arm["sum_squares"]
    return (
        SampleMean(n, arm["sum"] / n, squares - arm["sum"] ** 2 / n) if n else SampleMean(0, 0, 0)
    )


def estimate(arm: Fields) -> Estimate:
    """Read an arm of a proportion or a mean."""
    if "conversions" in arm or arm.get("type") == "proportion":
        return of_proportion(proportion(arm))
    return of_mean(moments(arm))


def estimates(inputs: Fields) -> tuple[Estimate, Estimate]:
    """Read control and treatment."""
    return estimate(inputs["control"]), estimate(inputs["treatment"])


def joint(arm: Fields, first: str, second: str, products: str) -> JointMoments:
    """Read an arm of two values per unit, given as sums, sums of squares and of products."""
    value, other = moments(arm[first]), moments(arm[second])
    co_m2 = arm[products] - arm[first]["sum"] * arm[second]["sum"] / arm["n"]
    return JointMoments(arm["n"], value.mean, value.m2, other.mean, other.m2, co_m2)
