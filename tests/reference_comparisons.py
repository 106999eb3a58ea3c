"""Answers the reference cases that compare two arms, or several."""

from __future__ import annotations

from tasks.experiments.statistics.bayes import (
    beta_posterior,
    compare_betas,
    normal_posterior,
    scaled_prior,
)
from tasks.experiments.statistics.comparison import (
    Comparison,
)
from tasks.experiments.statistics.confidence_sequences import confidence_sequence, mixture_rho
from tasks.experiments.statistics.cuped import adjust, compare_adjusted, lift_adjusted
from tasks.experiments.statistics.estimates import compare
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.non_inferiority import non_inferiority
from tasks.experiments.statistics.quantiles import quantile_estimate
from tasks.experiments.statistics.ranks import mann_whitney
from tasks.experiments.statistics.ratios import ratio_of_means
from tests.reference_inputs import (
    Fields,
    alpha,
    alternative,
    answers,
    estimates,
    is_relative,
    joint,
    moments,
    proportion,
)


def _compared(found: Comparison, options: Fields) -> Fields:
    """The fields of a comparison, under every name that the cases have for them."""
    return {
        "diff": found.difference,
        "effect": found.difference,
        "lift": found.difference,
        "se": found.standard_error,
        "t": found.statistic,
        "dof": found.dof,
        "p_value": found.p_value,
        "ci_lower": found.lower,
        "ci_upper": found.upper,
        "significant": found.is_significant(alpha(options)),
    }


@answers("welch_t")
def welch_t(inputs: Fields, options: Fields) -> Fields:
    """Welch's t test."""
    arms = moments(inputs["control"]), moments(inputs["treatment"])
    return _compared(welch(*arms, alpha(options), alternative(options)), options)


@answers("relative_lift_delta")
def relative_lift_delta(inputs: Fields, options: Fields) -> Fields:
    """Lift by the delta method."""
    arms = estimates(inputs)
    found = compare(*arms, alpha(options), alternative(options), is_relative=is_relative(options))
    return _compared(found, options)


@answers("ratio_metric_delta")
def ratio_metric_delta(inputs: Fields, options: Fields) -> Fields:
    """A ratio of two sums."""
    control = ratio_of_means(joint(inputs["control"], "m", "d", "md"))
    treatment = ratio_of_means(joint(inputs["treatment"], "m", "d", "md"))
    found = compare(control, treatment, alpha(options), is_relative=is_relative(options))
    ratios = {"control_ratio": control.value, "treatment_ratio": treatment.value}
    return _compared(found, options) | ratios


@answers("cuped")
def cuped(inputs: Fields, options: Fields) -> Fields:
    """A mean adjusted by a covariate."""
    control, treatment = (joint(inputs[x], "post", "pre", "pp") for x in ("control", "treatment"))
    ddof = 0 if inputs["control"]["post"]["type"] == "proportion" else 1
    how = lift_adjusted if is_relative(options) else compare_adjusted
    plain = {arm: inputs[arm]["post"] for arm in ("control", "treatment")}
    unadjusted = compare(*estimates(plain), is_relative=is_relative(options))
    found = _compared(how(control, treatment, alpha(options), ddof=ddof), options)
    theta = adjust(control, treatment, ddof=ddof).theta
    return found | {"theta": theta, "unadjusted_se": unadjusted.standard_error}


@answers("quantile_metric")
def quantile_metric(inputs: Fields, options: Fields) -> Fields:
    """A quantile with its order statistics."""
    names = ("n", "quantile_hat", "quantile_lower", "quantile_upper", "n_star")
    control, treatment = (
        quantile_estimate(*(inputs[arm][name] for name in names))
        for arm in ("control", "treatment")
    )
    found = compare(control, treatment, alpha(options), is_relative=is_relative(options))
    return _compared(found, options)


@answers("sequential_cs")
def sequential_cs(inputs: Fields, options: Fields) -> Fields:
    """An asymptotic confidence sequence."""
    arms = estimates(inputs)
    level, tuning_n = alpha(options), options.get("tuning_n", 5000)
    compared = compare(*arms, level, is_relative=is_relative(options))
    found = confidence_sequence(compared, arms[0].n + arms[1].n, level, tuning_n)
    return {
        "effect": found.effect,
        "se": compared.standard_error,
        "rho": mixture_rho(level, tuning_n),
        "ci_lower": found.lower,
        "ci_upper": found.upper,
        "p_value": found.p_value,
        "log10_e_value": found.log10_e,
        "significant": found.is_significant(level),
    }


@answers("bayes_beta_binomial")
def bayes_beta_binomial(inputs: Fields, options: Fields) -> Fields:
    """Two rates with Beta posteriors."""
    prior = options["prior"]["alpha"], options["prior"]["beta"]
    control, treatment = (
        beta_posterior(proportion(inputs[arm]), prior) for arm in ("control", "treatment")
    )
    found = compare_betas(control, treatment)
    lower, upper = treatment.interval(alpha(options))
    return {
        "prob_treatment_better": found.chance_to_win,
        "expected_loss_choose_treatment": found.loss_of_treatment,
        "expected_loss_choose_control": found.loss_of_control,
        "treatment_posterior_mean": treatment.mean,
        "treatment_ci_lower": lower,
        "treatment_ci_upper": upper,
    }


@answers("bayes_normal")
def bayes_normal(inputs: Fields, options: Fields) -> Fields:
    """An effect with a normal posterior."""
    arms = estimates(inputs)
    compared = compare(*arms, is_relative=is_relative(options))
    given = options.get("prior", {})
    prior = (given["mean"], given["variance"]) if given.get("proper") else None
    if prior and is_relative(options) != (options.get("prior_type") == "relative"):
        scale = abs(arms[0].value)
        prior = scaled_prior(prior, 1 / scale if is_relative(options) else scale)
    is_higher_better = not options.get("inverse", False)
    found = normal_posterior(compared, prior, alpha(options), is_higher_better=is_higher_better)
    if found is None:
        return dict.fromkeys(("posterior_mean", "posterior_sd", "chance_to_win"))
    return {
        "posterior_mean": found.mean,
        "posterior_sd": found.standard_deviation,
        "ci_lower": found.lower,
        "ci_upper": found.upper,
        "chance_to_win": found.chance_to_win,
        "risk_choose_control": found.loss_of_control,
        "risk_choose_treatment": found.loss_of_treatment,
    }


@answers("non_inferiority")
def guardrail(inputs: Fields, options: Fields) -> Fields:
    """A test against a margin."""
    is_up = options.get("preferred", "increase") == "increase"
    relative = "margin_relative_to_control" in options
    found = non_inferiority(
        *estimates(inputs),
        options["margin_relative_to_control"] if relative else options["margin_absolute"],
        alpha(options),
        is_higher_better=is_up,
        is_relative=relative,
        is_normal="conversions" in inputs["control"],
    )
    return {
        "diff": found.difference,
        "null_absolute": found.margin,
        "t": found.statistic,
        "p_value": found.p_value,
        "ci_lower" if is_up else "ci_upper": found.limit,
        "non_inferior": found.is_proven(alpha(options)),
    }


@answers("mann_whitney")
def ranks(inputs: Fields, options: Fields) -> Fields:
    """Mann and Whitney's U test on raw values."""
    found = mann_whitney(
        inputs["control"],
        inputs["treatment"],
        alternative(options),
        options.get("method", "auto"),
        continuity=options.get("continuity", True),
    )
    is_significant = found.p_value is not None and found.p_value < alpha(options)
    superiority = {"prob_superiority": found.superiority, "significant": is_significant}
    return {"u": found.u, "p_value": found.p_value} | superiority
