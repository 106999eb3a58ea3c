"""What does it cost to look whenever samples come? `python -m benchmarks.watching`, JSON lines.

Whole rollouts of the default schedule at 2,000 requests an hour, with the default limit of 5 % for
errors, are drawn tick by tick or minute by minute. A look at which fewer than 5 % failed is passed
over: there neither guard can find harm. The registered guard judges every other one, until it finds
harm: the version is healthy, so that is a mistake.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.rollouts.definition.policy import CheckPolicy, GuardName, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import Health, Measured, Reading

SEED = 20261121
REQUESTS_PER_HOUR = 2000
LIMIT = 0.05
STAGES = parse_schedule(DEFAULT_SCHEDULE).stages
FALSE_ALARMS = 0.01  # of the sequential guard, however often it looks
_NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Counts = NDArray[np.int64]


class Case(NamedTuple):
    """What is true, how often somebody looks, and who judges."""

    guard: GuardName
    rate: float
    looks_per_hour: int
    min_samples: int
    runs: int

    @property
    def policy(self) -> RolloutPolicy:
        """One check of the error rate, judged by the guard."""
        check = CheckPolicy(check="error_rate", limit=LIMIT, min_samples=self.min_samples)
        return RolloutPolicy(checks=(check,), guard=self.guard)


def cases() -> Iterator[Case]:
    """Every case of the table, and the sequential guard by the minute."""
    for rate in (0.01, 0.02, 0.03, 0.04):
        for min_samples in (100, 500):
            yield Case("threshold", rate, 1, min_samples, 5000)
            yield Case("threshold", rate, 60, min_samples, 2000)
    for rate in (0.03, 0.04, 0.045):
        yield Case("sequential", rate, 60, 100, 500)


def share_rolled_back(case: Case) -> float:
    """Share of the runs in which some look finds harm that is not there."""
    random = np.random.default_rng(SEED)
    return float(np.mean([_is_rolled_back(case, random) for _ in range(case.runs)]))


def _is_rolled_back(case: Case, random: np.random.Generator) -> bool:
    return any(
        _is_harm(case, int(errors), int(requests))
        for stage in STAGES
        for errors, requests in _suspect_looks(case, stage.percentage, stage.hours, random)
    )


def _suspect_looks(
    case: Case, percentage: float, hours: float, random: np.random.Generator
) -> Counts:
    """Errors and requests since the stage began, at the looks where harm could be found."""
    looks = round(hours * case.looks_per_hour)
    mean = REQUESTS_PER_HOUR * percentage / 100 / case.looks_per_hour
    requests = random.poisson(mean, looks)
    errors = random.binomial(requests, case.rate)
    sums = np.stack([errors.cumsum(), requests.cumsum()], axis=1)
    is_suspect = (sums[:, 1] >= case.min_samples) & (sums[:, 0] >= LIMIT * sums[:, 1])
    suspect: Counts = sums[is_suspect]
    return suspect


def _is_harm(case: Case, errors: int, requests: int) -> bool:
    measured = Measured(value_sum=errors, square_sum=errors, sample_count=requests)
    reading = Reading(
        check="error_rate",
        canary=measured,
        window_start=_NOON - timedelta(hours=1),
        window_end=_NOON,
    )
    policy = case.policy
    return judge_check(reading, policy.checks[0], policy, len(STAGES)).health is Health.UNHEALTHY


def main() -> int:
    """Draw every case; the exit code is 1 where the sequential guard misses its promise."""
    is_kept = True
    for case in cases():
        share = share_rolled_back(case)
        error = sqrt(share * (1 - share) / case.runs)
        is_within = case.guard != "sequential" or share <= FALSE_ALARMS
        is_kept &= is_within
        told = {"share": round(share, 4), "standard_error": round(error, 4)}
        print(json.dumps({**case._asdict(), **told, "is_within_bar": is_within}), flush=True)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
