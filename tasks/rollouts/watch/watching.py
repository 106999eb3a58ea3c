"""Look at rollouts between ticks: judge them as a tick would, and change none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.alerts.model import AlertNews, Observation
from tasks.alerts.recording import observe
from tasks.decisions import Verdict
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.health.sources.model import Secrets
from tasks.rollouts.ticks.decision import decide_tick
from tasks.rollouts.ticks.evidence import Move
from tasks.rollouts.ticks.found import FoundRollout, find_rollouts
from tasks.rollouts.ticks.measuring import measure
from tasks.rollouts.ticks.tick import evidence_of
from tasks.rollouts.watch.heartbeat import QUERIES

_DEADLINE_SECONDS = 10.0
_NO_SLOT = "9999"
"""After every slot that was decided: a look between ticks repeats none of them."""


class Breach(BaseModel):
    """A rollout whose version does harm, by what was measured of it just now."""

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    version: int
    name: str
    model_version: str
    percentage: float
    reason: str
    checks: tuple[CheckResult, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Tells one breach from the next: the rollout, as it stood then."""
        return self.rollout_id, self.version


def find_breaches(
    tx: Connection,
    resolve_secrets: Callable[[Iterable[CheckPolicy]], Secrets],
    versions: Sequence[str] | None = None,
) -> list[Breach]:
    """The rollouts (of these versions, or all) that a tick would roll back now. Only reads.

    Where versions are named their samples alone are read: a source elsewhere that is slow must not
    keep them waiting. Looking at all, each source has ten seconds.
    """
    asked = {"versions": None if versions is None else list(versions)}
    active = find_rollouts(tx, tx.scalars(QUERIES["rollouts_to_watch"], asked).all())
    found = [rollout for rollout in active if rollout.policy.is_watched]
    if not found:
        return []
    only_samples = versions is not None
    checks = [] if only_samples else [c for rollout in found for c in rollout.policy.checks]
    measured = measure(
        tx,
        found,
        resolve_secrets(checks),
        only_samples=only_samples,
        deadline_seconds=_DEADLINE_SECONDS,
    )
    judged = (
        (rollout, decide_tick(evidence_of(rollout, _NO_SLOT, each)))
        for rollout, each in zip(found, measured, strict=True)
    )
    return [_breach(rollout, verdict) for rollout, verdict in judged if _is_harm(verdict)]


def alert_of(tx: Connection, breaches: Sequence[Breach]) -> list[AlertNews]:
    """Open the alerts of what was found, critical, as a tick's rollback would."""
    return observe(tx, [seen for breach in breaches for seen in _observations(breach)])


def _is_harm(verdict: Verdict) -> bool:
    # That health is not known for too long is a tick's to act on.
    is_unhealthy = verdict.details["health"] == Health.UNHEALTHY
    return verdict.verdict == "rollback" and is_unhealthy


def _breach(rollout: FoundRollout, verdict: Verdict) -> Breach:
    checks = Move.model_validate(verdict.details).checks
    return Breach(
        rollout_id=rollout.id,
        version=rollout.version,
        name=rollout.name,
        model_version=rollout.model_version,
        percentage=rollout.percentage,
        reason="; ".join(reason.message for reason in verdict.reasons),
        checks=tuple(check for check in checks if check.reason in verdict.reasons),
    )


def _observations(breach: Breach) -> Iterator[Observation]:
    for check in breach.checks:
        yield Observation(
            subject=f"rollout:{breach.rollout_id}",
            metric=check.check,
            health="unhealthy",
            severity="critical",
            title=f"rollout {breach.name} ({breach.model_version}): {check.check} is unhealthy",
            message=check.reason.message,
            details={
                "rollout": breach.name,
                "model_version": breach.model_version,
                "percentage": breach.percentage,
                "value": check.value,
                "limit": check.limit,
                "sample_count": check.sample_count,
            },
        )
