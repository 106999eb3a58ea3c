"""Answers the reference cases that judge a version while it is rolled out."""

from __future__ import annotations

from math import log, sqrt

from scipy import special

from tasks.experiments.statistics.sequential import group_sequential_bounds
from tasks.rollouts.definition.policy import CheckPolicy, GuardName
from tasks.rollouts.guard.binomial import exact_interval, least_count, p_value_above
from tasks.rollouts.guard.mixtures import Split, log_e_worse, mean_margin
from tasks.rollouts.health.measured import CheckResult, Health
from tests.readings import judged, reading
from tests.reference_inputs import Fields, answers

_ENOUGH = -log(0.01)


@answers("one_sample_eprocess")
def one_sample_eprocess(inputs: Fields, options: Fields) -> Fields:
    """Both guards on the same counts; evidence of health is asked for."""
    decisions = {Health.UNHEALTHY: "rollback", Health.HEALTHY: "healthy"}
    sequential = _judged(inputs, "sequential")
    evidence = sequential.judgement.evidence
    is_healthy = _judged(inputs, "threshold").health is Health.HEALTHY
    return {
        "log_e_worse": evidence["log_e_above_limit"],
        "log_e_better": evidence["log_e_below_limit"],
        "three_way_decision_alpha_0.01": decisions.get(sequential.health, "inconclusive"),
        "raw_threshold_decision": "pass" if is_healthy else "fail",
    }


@answers("two_sample_eprocess")
def two_sample_eprocess(inputs: Fields, options: Fields) -> Fields:
    """Evidence against the control after each tick."""
    looks = [
        Split(
            each["canary_errors"],
            each["canary_requests"],
            each["control_errors"],
            each["control_requests"],
        )
        for each in inputs["ticks"]
    ]
    found = [log_e_worse(looks[: number + 1]) for number in range(len(looks))]
    return {"log_e": found, "rollback_at_alpha_0.01": max(found) >= _ENOUGH}


@answers("exact_binomial")
def exact_binomial(inputs: Fields, options: Fields) -> Fields:
    """One look at a share."""
    bad, count = inputs["errors"], inputs["requests"]
    return {
        "p_value_greater": p_value_above(bad, count, inputs["p0"]),
        "ci95": list(exact_interval(bad, count)),
        "point": bad / count if count else None,
    }


@answers("min_sample_for_raw_threshold")
def min_sample_for_raw_threshold(inputs: Fields, options: Fields) -> Fields:
    """From how many requests on a bare threshold is seldom wrong."""
    chance = inputs["max_false_alarm_per_check"]
    return {"min_requests": least_count(inputs["true_rate"], inputs["threshold"], chance)}


@answers("normal_mixture_cs")
def normal_mixture_cs(inputs: Fields, options: Fields) -> Fields:
    """Half the width of a mean's confidence sequence, and of the interval for one look."""
    error = inputs["sd"] / sqrt(inputs["n"])
    alpha = inputs["alpha"]
    return {
        "half_width": error * mean_margin(inputs["n"], alpha, inputs["rho"]),
        "fixed_horizon_half_width": -error * float(special.ndtri(alpha / 2)),
    }


@answers("lan_demets_bounds")
def lan_demets_bounds(inputs: Fields, options: Fields) -> Fields:
    """Bounds of a group-sequential test; rollouts do not use them, experiments do."""
    bounds = group_sequential_bounds(
        inputs["information_fractions"], inputs["alpha"], sides=inputs["sides"]
    )
    return {"z": [bound.z for bound in bounds]}


def _judged(inputs: Fields, guard: GuardName) -> CheckResult:
    check = CheckPolicy(check="error_rate", limit=inputs["p0"], min_samples=0)
    seen = reading("error_rate", value_sum=inputs["errors"], sample_count=inputs["requests"])
    return judged(seen, check, guard=guard, alpha=0.01, is_strict=True)
