"""What bandits, layers and holdouts need, and what does not go together."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from tasks.experiments.bandits.algorithms import algorithms
from tasks.experiments.bandits.evidence import BanditPolicy
from tasks.experiments.definition.arms import VariantPlan

_PLACES = 9  # of a share of a layer: what its bounds keep exactly
_OF_A_HOLDOUT = 2
_WITHOUT_ERROR_CONTROL = {"bayesian"}


def known_algorithm(policy: BanditPolicy) -> BanditPolicy:
    """The policy; ValueError, with what is known, where nothing is called as its algorithm."""
    known = algorithms.names()
    if policy.algorithm not in known:
        near = get_close_matches(policy.algorithm, known, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"no algorithm is called {policy.algorithm!r}; {meant}choose one of: {', '.join(known)}"
        )
    return policy


def check_bandit(
    policy: BanditPolicy,
    arms: Sequence[VariantPlan],
    method: str,
    kind: str,
    *,
    has_factors: bool,
) -> None:
    """Raise ValueError where the traffic could not follow the figures, or no winner be sound."""
    if has_factors:
        raise ValueError(
            "a multivariate design needs the split that it was planned with; leave bandit out"
        )
    if kind == "quantile":
        raise ValueError(
            "a quantile cannot be compared within the epochs of a split that moves, so a bandit "
            "by it would never have a winner; choose another primary metric"
        )
    if method in _WITHOUT_ERROR_CONTROL:
        raise ValueError(
            f"the method {method} promises no error, which the winner of a bandit needs; "
            "choose group_sequential, confidence_sequence or fixed"
        )
    if policy.floor <= 0:
        raise ValueError(
            "bandit.floor must be above 0: an arm that gets nobody is compared with nothing, and "
            "without a control nothing is; 0.01 is 1 % for each arm"
        )
    open_arms = sum(arm.weight > 0 for arm in arms)
    if open_arms * policy.floor > 1:
        raise ValueError(
            f"bandit.floor {policy.floor:g} for each of {open_arms} arms is more than all "
            f"the traffic; at most {1 / open_arms:.4g}"
        )


def check_layer(layer: str | None, share: float | None) -> None:
    """Raise ValueError unless both are told, or neither."""
    if layer is not None and share is None:
        raise ValueError("say layer_share: the part of the layer that this experiment needs")
    if layer is None and share is not None:
        raise ValueError("layer_share is a part of a layer; say which layer")


def rounded_share(share: float) -> float:
    """The share as the bounds of its slot can tell it."""
    return round(share, _PLACES)


def check_holdout(arms: Sequence[VariantPlan], policy: str, others: Sequence[str]) -> None:
    """Raise ValueError unless it is one arm held out, one of everybody else, and only reported."""
    if others:
        raise ValueError(f"a holdout has no {' and no '.join(others)}: it is a plain split in two")
    if len(arms) != _OF_A_HOLDOUT:
        raise ValueError(
            f"a holdout has two arms, the control that is held out and everybody else, "
            f"not {len(arms)}"
        )
    if policy != "recommend":
        raise ValueError(
            f"a holdout has the policy recommend, not {policy}: what it finds is the effect of "
            "many experiments, nothing to select or roll out"
        )
