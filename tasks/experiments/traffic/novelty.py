"""Is there anything new to allocate by since the last update?"""

from __future__ import annotations

from typing import Any

from tasks.experiments.bandits.evidence import AllocationEvidence
from tasks.experiments.bandits.gates import looked_at

_DIGITS = 9  # sums of doubles depend on the order in which Postgres reads the rows


def is_same(last: AllocationEvidence, now: AllocationEvidence) -> bool:
    """Whether an update would be made of what the last one was made of.

    Figures, policy, outcomes of checks. Not the split itself, which the last update may have moved
    a step: another step on the same figures would be no step. The clock counts only as far as the
    warm-up waits for it.
    """
    return _known(last) == _known(now)


def _known(evidence: AllocationEvidence) -> dict[str, Any]:
    wanted = evidence.policy.warm_up_hours
    return {
        "experiment": evidence.experiment_id,
        "metric": (evidence.metric, evidence.is_rate, evidence.is_higher_better, evidence.problem),
        "policy": evidence.policy,
        "arms": [
            (arm.name, arm.n, _cut(arm.mean), _cut(arm.m2), arm.is_open) for arm in evidence.arms
        ],
        "checks": [looked_at(check) for check in evidence.checks],
        "is_paused": evidence.is_paused,
        "is_late_enough": evidence.hours is not None and evidence.hours >= wanted,
    }


def _cut(value: float) -> str:
    return f"{value:.{_DIGITS}g}"
