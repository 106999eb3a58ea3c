"""Measure the rollouts of a batch, without a lock: what their health sources say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.rollouts.health.measured import Reading
from tasks.rollouts.health.reading import DEADLINE_SECONDS, is_sampled, read_health
from tasks.rollouts.health.sources.model import Asked, Secrets
from tasks.rollouts.ticks.evidence import window_of
from tasks.rollouts.ticks.found import FoundRollout


class MeasuredRollout(BaseModel):
    """What was measured of a rollout, and its version then: what is decided on it must know."""

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    version: int
    readings: tuple[Reading, ...] = ()


def measure(
    tx: Connection,
    found: Sequence[FoundRollout],
    secrets: Secrets,
    *,
    only_samples: bool = False,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> list[MeasuredRollout]:
    """What every check of the rollouts reads now; nothing for one that nobody sees.

    With ``only_samples`` sources elsewhere are not asked: their checks are left without a reading.
    """
    every = (each for rollout in found for each in _asked(rollout))
    asked = [each for each in every if not only_samples or is_sampled(each.check)]
    read = read_health(tx, asked, secrets, deadline_seconds=deadline_seconds)
    readings: dict[int, list[Reading]] = {rollout.id: [] for rollout in found}
    for each, reading in zip(asked, read, strict=True):
        readings[each.rollout_id].append(reading)
    return [
        MeasuredRollout(rollout_id=each.id, version=each.version, readings=tuple(readings[each.id]))
        for each in found
    ]


def _asked(rollout: FoundRollout) -> Iterator[Asked]:
    for check in rollout.policy.checks if rollout.state.is_under_way else ():
        start, end = window_of(
            check,
            rollout.policy,
            rollout.stage_entered_at,
            rollout.now,
            rollout.latest_window_end,
        )
        yield Asked(
            rollout_id=rollout.id,
            check=check,
            model_version=rollout.model_version,
            control_version=rollout.control_version,
            window_start=start,
            window_end=end,
        )
