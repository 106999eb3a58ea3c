"""Ratios and adjusted means over allocation epochs: joint moments, weighed as `strata` says.

The weighted means are taken first and the ratio of them afterwards: that of a small epoch would be
biased, or have no denominator. A metric's kind then compares the arms as if they had never moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.statistics.ratios import JointMoments
from tasks.experiments.statistics.strata import merging, shares, strata_of

Floats = NDArray[np.float64]
Arms = tuple[JointMoments, JointMoments]


@dataclass(frozen=True, slots=True)
class JointStrata:
    """Control and treatment, to be compared by the metric's kind."""

    effect: Arms  # weighted by traffic: what is reported
    test: Arms  # weighted for testing: what bounds, sequences and single looks judge
    traffic: int  # units of all arms in the epochs that were used: the clock of the test
    strata: int


def stratify_joint(
    control: Sequence[JointMoments | None],
    treatment: Sequence[JointMoments | None],
    traffic: Sequence[int],
) -> JointStrata | None:
    """Weigh two arms over the epochs in which both were on offer; None without such an epoch.

    Arguments and InputError are as those of `strata_of`.
    """
    values = [
        [None if each is None else each.value for each in arm] for arm in (control, treatment)
    ]
    epochs = strata_of(values[0], values[1], traffic)
    both = [
        (first, second)
        for first, second in zip(control, treatment, strict=True)
        if first is not None and second is not None
    ]
    if not both:
        return None
    ends = pairwise([*merging(epochs.n), len(both)])
    cells = [[reduce(add, arm) for arm in zip(*both[a:b], strict=True)] for a, b in ends]
    strata, arms = epochs.merged(), list(zip(*cells, strict=True))
    traffic_used = int(epochs.traffic.sum())
    if len(cells) == 1:
        single = arms[0][0], arms[1][0]
        return JointStrata(single, single, traffic_used, 1)
    effect, test = (
        (standardised(arms[0], weights), standardised(arms[1], weights))
        for weights in (strata.effect_weights, strata.test_weights)
    )
    return JointStrata(effect, test, traffic_used, len(cells))


def standardised(cells: Sequence[JointMoments], weights: Floats) -> JointMoments:
    """One arm's joint moments over its strata, weighted; every cell needs 2 units.

    The means are the weighted ones, and the second moments such that their covariance over n is
    that of those means.
    """
    n, share = sum(cell.n for cell in cells), shares(weights)
    held = np.array(
        [(c.n, c.mean, c.other_mean, c.m2, c.other_m2, c.co_m2) for c in cells], dtype=float
    )
    mean, other_mean = (share @ held[:, 1:3]).tolist()
    scale = share**2 / held[:, 0] / (held[:, 0] - 1) * n * (n - 1)
    m2, other_m2, co_m2 = (scale @ held[:, 3:]).tolist()
    return JointMoments(n, mean, m2, other_mean, other_m2, co_m2)
