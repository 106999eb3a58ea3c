"""Answers the reference cases that ask which of several arms is best."""

from __future__ import annotations

from tasks.experiments.bandits.shares import floored
from tasks.experiments.statistics.posteriors import beta_arms, normal_arms
from tasks.experiments.statistics.thompson import (
    Chances,
    chances,
    top_two_sampling,
    top_two_shares,
)
from tests.reference_inputs import Fields, answers


@answers("thompson_beta")
def thompson_beta(inputs: Fields, options: Fields) -> Fields:
    """Rates: the chance that each arm is best, and its share with a floor."""
    best = _chances(inputs, options).best[0]
    return {"prob_best": best.tolist(), "weights": floored(best, options["floor"]).tolist()}


@answers("thompson_normal")
def thompson_normal(inputs: Fields, options: Fields) -> Fields:
    """Means: the chance that each arm is best."""
    return {"prob_best": _chances(inputs, options).best[0].tolist()}


@answers("thompson_top_two")
def thompson_top_two(inputs: Fields, options: Fields) -> Fields:
    """Best and second best, and the shares by the rule that the case names."""
    found = _chances(inputs, options)
    is_sampling = options["rule"].startswith("Russo")
    shares = (
        top_two_sampling(found.best) if is_sampling else top_two_shares(found.best, found.second)
    )
    return {
        "prob_best": found.best[0].tolist(),
        "prob_second": found.second[0].tolist(),
        "weights": shares[0].tolist(),
    }


def _chances(inputs: Fields, options: Fields) -> Chances:
    arms = inputs["arms"]
    n = [[arm["n"] for arm in arms]]
    is_higher_better = not options.get("minimise", False)
    if "conversions" in arms[0]:
        prior = (options["prior"]["alpha"], options["prior"]["beta"])
        rates = beta_arms(n, [[arm["conversions"] for arm in arms]], prior)
        return chances(rates, is_higher_better=is_higher_better)
    m2 = [[arm["variance"] * max(arm["n"] - 1, 0) for arm in arms]]
    means = normal_arms(n, [[arm["mean"] for arm in arms]], m2)
    return chances(means, is_higher_better=is_higher_better)
