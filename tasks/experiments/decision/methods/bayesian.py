"""The chance to beat the control: of rates from Beta posteriors, of other metrics from normal ones.

It is offered because people ask for it. It holds no error rate under peeking, and says so.
"""

from __future__ import annotations

from scipy import special

from tasks.experiments.decision.looks import step_down
from tasks.experiments.decision.trial import ArmTest, Judged, Method, Trial, methods
from tasks.experiments.statistics.bayes import (
    Posterior,
    beta_posterior,
    compare_betas,
    normal_posterior,
)
from tasks.experiments.statistics.moments import as_proportion
from tasks.experiments.statistics.multiplicity import holm

FALSE_WINNERS = {"hourly": 0.33, "daily": 0.19}
"""How often an arm that is no better wins at a chance of 95 %: 14 days, a rate of 10 %, at least
100 units an arm. Drawn by `python -m benchmarks.decisions`.
"""

NOTE = (
    "A posterior allows for no peeking: at a chance of 95 % an arm that is no better wins in "
    f"{FALSE_WINNERS['hourly']:.0%} of the experiments that are looked at hourly for 14 days, in "
    f"{FALSE_WINNERS['daily']:.0%} of those looked at daily."
)


def judge(trial: Trial) -> Judged:
    """Judge every arm by its chance to beat the control at this look."""
    posteriors = {name: _posterior(trial, name) for name in trial.compared}
    tails = {name: _tail(found) for name, found in posteriors.items()}
    p_values = dict(zip(tails, holm(list(tails.values())), strict=True))
    error = 1 - float(trial.terms.method_options.get("threshold", 0.95))

    def test(name: str, level: float) -> ArmTest:
        is_found = trial.is_usable and tails[name] <= level
        posterior = posteriors[name]
        is_better = posterior is not None and posterior.chance_to_win > 0.5
        return ArmTest(
            p_value=p_values[name],
            level=level,
            is_found=is_found,
            is_above=is_better == trial.is_higher_better if is_found else None,
            figures={} if posterior is None else _figures(posterior),
        )

    def reach(level: float, _n: int) -> float | None:
        return -float(special.ndtri(level / 2)) if trial.is_usable else None

    arms = step_down(list(tails), error, test)
    return Judged(arms, reach, NOTE, {"false_winner_rate": FALSE_WINNERS})


def _posterior(trial: Trial, name: str) -> Posterior | None:
    """Of the chance that the arm is better; None where it cannot be compared."""
    control, treatment = trial.pairs[name]
    is_adjusted = control.covariate is not None or trial.is_stratified
    try:
        if trial.is_rate and not is_adjusted and control.value.n and treatment.value.n:
            arms = [beta_posterior(as_proportion(arm.value)) for arm in (control, treatment)]
            return compare_betas(*(arms if trial.is_higher_better else reversed(arms)))
        found = trial.compared[name]
        return normal_posterior(found, _prior(trial), is_higher_better=trial.is_higher_better)
    except ArithmeticError:  # differences too small or large for doubles
        return None


def _prior(trial: Trial) -> tuple[float, float] | None:
    """Mean and variance of the difference, from those of the relative effect; None: flat."""
    scale, options = abs(trial.control_value or 0.0), trial.terms.method_options
    mean = float(options.get("prior_mean", 0.0)) * scale
    variance = (float(options.get("prior_deviation", 0.3)) * scale) ** 2
    return (mean, variance) if variance > 0 else None


def _tail(found: Posterior | None) -> float:
    """The chance that the more likely side is the wrong one."""
    return 0.5 if found is None else min(found.chance_to_win, 1 - found.chance_to_win)


def _figures(found: Posterior) -> dict[str, float | None]:
    return {
        "chance_to_win": found.chance_to_win,
        "loss_of_treatment": found.loss_of_treatment,
        "loss_of_control": found.loss_of_control,
    }


methods.register("bayesian")(Method(judge))
