"""Posterior answers: how likely is the treatment better, and what does a wrong choice cost?"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.moments import Proportion

Floats = NDArray[np.float64]

# Between these quantiles of both posteriors each piece is integrated on its own, so that a narrow
# posterior is not missed inside a wide one.
_TAILS = np.array([1e-40, 1e-20, 1e-12, 1e-7, 1e-4, 0.01, 0.1, 0.3, 0.5])
_NODES, _WEIGHTS = (np.asarray(part) for part in special.roots_legendre(24)[:2])


@dataclass(frozen=True, slots=True)
class Beta:
    """Posterior of a rate."""

    a: float
    b: float

    @property
    def mean(self) -> float:
        """Expected rate."""
        return self.a / (self.a + self.b)

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The middle 1 - alpha of the posterior."""
        lower = special.betaincinv(self.a, self.b, alpha / 2)
        return float(lower), float(special.betainccinv(self.a, self.b, alpha / 2))


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the posteriors of two arms say of each other; losses in units of the metric."""

    chance_to_win: float  # of the treatment
    loss_of_treatment: float  # expected loss from choosing it where it is worse
    loss_of_control: float


@dataclass(frozen=True, slots=True)
class NormalPosterior(Posterior):
    """Posterior of an effect that is normal."""

    mean: float
    standard_deviation: float
    lower: float
    upper: float


def beta_posterior(sample: Proportion, prior: tuple[float, float] = (1.0, 1.0)) -> Beta:
    """Posterior of a rate under a Beta prior, uniform unless given."""
    return Beta(prior[0] + sample.successes, prior[1] + sample.n - sample.successes)


def compare_betas(control: Beta, treatment: Beta) -> Posterior:
    """Integrate, piece by piece, P(t > c) = ∫ f_t F_c and the losses E[(c - t)⁺] = ∫ F_t (1 - F_c).

    No random draws: the same data give the same answer, to ten digits.
    """
    x, weights = _nodes(control, treatment)
    log_density = (
        special.xlogy(treatment.a - 1, x)
        + special.xlog1py(treatment.b - 1, -x)
        - special.betaln(treatment.a, treatment.b)
    )
    below_c, above_c = (
        special.betainc(control.a, control.b, x),
        special.betaincc(control.a, control.b, x),
    )
    below_t = special.betainc(treatment.a, treatment.b, x)
    above_t = special.betaincc(treatment.a, treatment.b, x)
    wins = float(weights @ (np.exp(log_density) * below_c))
    return Posterior(
        chance_to_win=min(1.0, wins),
        loss_of_treatment=float(weights @ (below_t * above_c)),
        loss_of_control=float(weights @ (below_c * above_t)),
    )


def normal_posterior(
    found: Comparison,
    prior: tuple[float, float] | None = None,
    alpha: float = 0.05,
    *,
    is_higher_better: bool = True,
) -> NormalPosterior | None:
    """Posterior of a comparison's difference under a normal prior (mean, variance), or none.

    The prior is on the scale of the difference. None where the comparison is undefined.
    """
    if found.difference is None or found.standard_error is None:
        return None
    mean, deviation = found.difference, found.standard_error
    if prior is not None:
        # As shares, not as precisions: one of a tiny error is beyond doubles.
        share = prior[1] / (prior[1] + deviation**2)
        mean, deviation = share * mean + (1 - share) * prior[0], deviation * sqrt(share)
    if not deviation > 0:
        return None
    half = -float(special.ndtri(alpha / 2)) * deviation
    up, down = (_expected_excess(sign * mean, deviation) for sign in (1, -1))
    sign = 1 if is_higher_better else -1
    return NormalPosterior(
        chance_to_win=float(special.ndtr(sign * mean / deviation)),
        loss_of_treatment=down if is_higher_better else up,
        loss_of_control=up if is_higher_better else down,
        mean=mean,
        standard_deviation=deviation,
        lower=mean - half,
        upper=mean + half,
    )


def scaled_prior(prior: tuple[float, float], scale: float) -> tuple[float, float]:
    """A normal prior (mean, variance) on another scale: of a lift on differences, and back."""
    return prior[0] * scale, prior[1] * scale**2


def _expected_excess(mean: float, deviation: float) -> float:
    """E[max(0, X)] of a normal X."""
    z = mean / deviation
    return mean * float(special.ndtr(z)) + deviation * exp(-0.5 * z * z) / sqrt(2 * pi)


def _nodes(control: Beta, treatment: Beta) -> tuple[Floats, Floats]:
    ends = [np.array([0.0, 1.0])]
    for arm in (control, treatment):
        ends += [
            special.betaincinv(arm.a, arm.b, _TAILS),
            special.betainccinv(arm.a, arm.b, _TAILS),
        ]
    # An inverse that fails so far out only makes a piece longer.
    every = np.concatenate(ends)
    edges = np.unique(every[np.isfinite(every)])
    half = np.diff(edges) / 2
    x = (edges[:-1] + half)[:, None] + half[:, None] * _NODES
    return x.ravel(), (half[:, None] * _WEIGHTS).ravel()
