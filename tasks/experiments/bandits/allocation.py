"""Where should the next units go? The rule of bandits: one update of the split.

In this order: gates (paused, no choice, no figures, data that were not found sound) leave the split
as it is, and so does the time until every arm is warm; then the algorithm says what each arm
should have. No arm without a conversion gets more than an equal share, every arm gets the floor,
changes too small for an epoch are left, and large ones are made in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.experiments.bandits.algorithms import OF_TWO_THAT_LEAD, Standing, algorithms
from tasks.experiments.bandits.evidence import AllocationEvidence
from tasks.experiments.bandits.gates import closed_gate, warming_up
from tasks.experiments.bandits.shares import capped, floored, in_slots, stepped
from tasks.experiments.bandits.standing import stand_many

Floats = NDArray[np.float64]

# Of figures: a replay on another machine may differ in the last ones.
_DECIMALS = 9
_SAME = 1e-9


@rule("traffic-allocation", version=2)
def allocate_traffic(evidence: AllocationEvidence) -> Verdict:
    """Say "changed" or "held"; details.weights is the split that holds from now on."""
    return allocate_many([evidence])[0]


def allocate_many(bandits: Sequence[AllocationEvidence]) -> list[Verdict]:
    """Judge many bandits as `allocate_traffic` judges each, by one integration."""
    pairs = zip(bandits, stand_many(bandits), strict=True)
    return [_judge(evidence, standing) for evidence, standing in pairs]


def _judge(evidence: AllocationEvidence, standing: Standing | None) -> Verdict:
    closed = closed_gate(evidence)
    if closed is not None or standing is None:
        return _verdict(evidence, standing, None, None, [closed] if closed else [])
    warming = warming_up(evidence)
    if warming is not None:
        return _verdict(evidence, standing, None, None, [warming])
    wanted, notes = _wanted(evidence, standing)
    if _largest_change(evidence, wanted) < _least_change(evidence):
        return _verdict(evidence, standing, wanted, None, [_too_small(evidence), *notes])
    weights = stepped(_held(evidence), wanted, evidence.policy.maximum_step)
    moved = _moved(evidence, standing, wanted, weights)
    return _verdict(evidence, standing, wanted, weights, [moved, *notes])


def _wanted(evidence: AllocationEvidence, standing: Standing) -> tuple[Floats, list[Reason]]:
    """What each open arm should have, and what a reader must know of it."""
    policy, arms, notes = evidence.policy, evidence.open_arms, []
    shares = algorithms.get(policy.algorithm)(standing)
    if policy.algorithm in OF_TWO_THAT_LEAD and len(arms) == 2:
        message = f"{policy.algorithm} of two arms is half and half, whatever they do."
        notes.append(Reason("top-two-of-two", message))
    is_barren = np.array([_is_barren(evidence, arm.conversions) for arm in arms])
    bounded = capped(shares, is_barren)
    if np.any(bounded < shares - _SAME):
        names = ", ".join(arm.name for arm, bare in zip(arms, is_barren, strict=True) if bare)
        message = f"Nobody converted in {names}: no more than an equal share until somebody does."
        notes.append(Reason("no-conversions", message))
    return floored(bounded, policy.floor), notes


def _is_barren(evidence: AllocationEvidence, conversions: int) -> bool:
    return evidence.is_rate and evidence.is_higher_better and conversions == 0


def _held(evidence: AllocationEvidence) -> Floats:
    """The split of the open arms as it is; what a closed one still had goes to them."""
    weights = np.array([arm.weight for arm in evidence.open_arms])
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


def _largest_change(evidence: AllocationEvidence, wanted: Floats) -> float:
    """Of any arm, closed ones too: they should have nothing."""
    target = dict(zip((arm.name for arm in evidence.open_arms), wanted.tolist(), strict=True))
    changes = (abs(arm.weight - target.get(arm.name, 0.0)) for arm in evidence.arms)
    return float(max(changes))


def _least_change(evidence: AllocationEvidence) -> float:
    return max(evidence.policy.minimum_change, _SAME)


def _too_small(evidence: AllocationEvidence) -> Reason:
    least = evidence.policy.minimum_change
    return Reason("small-change", f"No arm's share would change by {least:.1%} or more.")


def _moved(
    evidence: AllocationEvidence, standing: Standing, wanted: Floats, weights: Floats
) -> Reason:
    first = int(np.argmax(wanted))
    arm = evidence.open_arms[first]
    said = (
        f"{arm.name} gets {weights[first]:.1%} of new units ({arm.weight:.1%} until now): "
        f"it is the best with a chance of {standing.best[first]:.1%}"
    )
    if np.abs(weights - wanted).max() <= _SAME:
        return Reason("allocated", f"{said}.")
    step = evidence.policy.maximum_step
    message = f"{said}. It should have {wanted[first]:.1%}; one update moves {step:.0%} at most."
    return Reason("stepped", message)


def _verdict(
    evidence: AllocationEvidence,
    standing: Standing | None,
    wanted: Floats | None,
    weights: Floats | None,
    reasons: list[Reason],
) -> Verdict:
    split = {arm.name: arm.weight for arm in evidence.arms}
    if weights is not None:
        names = [arm.name for arm in evidence.open_arms]
        split = dict.fromkeys(split, 0.0) | dict(zip(names, in_slots(weights), strict=True))
    details = {
        "weights": split,
        "algorithm": evidence.policy.algorithm,
        "arms": [] if standing is None else _rows(evidence, standing, wanted, split),
    }
    verdict = "held" if weights is None else "changed"
    return Verdict(verdict=verdict, reasons=tuple(reasons), details=details)


def _rows(
    evidence: AllocationEvidence,
    standing: Standing,
    wanted: Floats | None,
    split: dict[str, float],
) -> list[dict[str, Any]]:
    """A row for each open arm; target: what it should have, before the step."""
    sign = 1 if evidence.is_higher_better else -1
    return [
        {
            "name": arm.name,
            "n": arm.n,
            "weight": split[arm.name],
            "target": None if wanted is None else round(float(wanted[place]), _DECIMALS),
            "posterior_mean": _rounded(sign * standing.values[place], 9),
            "chance_best": round(float(standing.best[place]), _DECIMALS),
            "chance_second": round(float(standing.second[place]), _DECIMALS),
            "expected_loss": _rounded(standing.loss[place], 6),
        }
        for place, arm in enumerate(evidence.open_arms)
    ]


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
