"""How the arms of bandits stand: posteriors of many bandits, integrated together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tasks.experiments.bandits.algorithms import Standing
from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm
from tasks.experiments.statistics.posteriors import BetaArms, NormalArms, beta_arms, normal_arms
from tasks.experiments.statistics.thompson import chances

_LARGEST = 1e100  # figures beyond it have no square in doubles
_Shape = tuple[int, bool, bool]


def is_usable(evidence: AllocationEvidence) -> bool:
    """Tell whether the figures of its arms can be calculated with, and there is a choice."""
    is_sound = all(_is_sound(arm, is_rate=evidence.is_rate) for arm in evidence.open_arms)
    return is_sound and not evidence.problem and len(evidence.open_arms) > 1


def stand_many(bandits: Sequence[AllocationEvidence]) -> list[Standing | None]:
    """Return how the open arms of each bandit stand; None where its figures are unusable."""
    alike: dict[_Shape, list[int]] = defaultdict(list)
    for place, bandit in enumerate(bandits):
        if is_usable(bandit):
            shape = (len(bandit.open_arms), bandit.is_rate, bandit.is_higher_better)
            alike[shape].append(place)
    found: list[Standing | None] = [None] * len(bandits)
    for places in alike.values():
        for place, standing in zip(places, _stand([bandits[p] for p in places]), strict=True):
            found[place] = standing
    return found


def _is_sound(arm: BanditArm, *, is_rate: bool) -> bool:
    lowest, highest = (0.0, 1.0) if is_rate else (-_LARGEST, _LARGEST)
    return lowest <= arm.mean <= highest and 0 <= arm.m2 <= _LARGEST**2  # NaN is neither


def _stand(bandits: Sequence[AllocationEvidence]) -> list[Standing]:
    """Bandits with the same number of open arms and the same kind of metric."""
    is_higher_better = bandits[0].is_higher_better
    arms = _posteriors(bandits)
    found = chances(arms, is_higher_better=is_higher_better)
    values = arms.mean if is_higher_better else -arms.mean
    rows = zip(found.best, found.second, found.loss, values, bandits, strict=True)
    return [
        Standing(best, second, loss, value, bandit.policy.epsilon)
        for best, second, loss, value, bandit in rows
    ]


def _posteriors(bandits: Sequence[AllocationEvidence]) -> BetaArms | NormalArms:
    arms = [bandit.open_arms for bandit in bandits]
    n = np.array([[arm.sure_n for arm in row] for row in arms], float)
    if bandits[0].is_rate:
        return beta_arms(n, [[arm.conversions for arm in row] for row in arms])
    means, m2 = ([[getattr(arm, name) for arm in row] for row in arms] for name in ("mean", "m2"))
    return normal_arms(n, means, m2)
