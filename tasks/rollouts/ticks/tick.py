"""One tick of a batch of rollouts: decide on what was measured and act, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.decisions import decide_many
from tasks.errors import Reason
from tasks.rollouts.definition.schedule import Schedule
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.ticks.decision import decide_tick
from tasks.rollouts.ticks.evidence import TickEvidence
from tasks.rollouts.ticks.found import QUERIES, FoundRollout, lock_rollouts
from tasks.rollouts.ticks.measuring import MeasuredRollout
from tasks.rollouts.ticks.slots import slot_within
from tasks.rollouts.ticks.ticked import Ticked, ticked
from tasks.rollouts.ticks.writing import write


class TickOutcome(BaseModel):
    """What a tick did to one rollout, and why."""

    model_config = ConfigDict(frozen=True)

    rollout_id: int
    name: str
    model_version: str
    slot: str
    verdict: str
    reasons: tuple[Reason, ...]
    old_percentage: float
    percentage: float
    state: State
    stage_index: int
    schedule: Schedule
    health: Health | None = None
    checks: tuple[CheckResult, ...] = ()
    decision_id: int | None = None
    is_escalated: bool = False
    holdouts: tuple[str, ...] = ()

    @property
    def is_telling(self) -> bool:
        """True if a person wants to read all of it: it moved, or is not healthy."""
        is_unwell = self.health not in {None, Health.HEALTHY}
        return self.verdict not in {"hold", "skip"} or is_unwell or self.is_escalated

    @property
    def summary(self) -> str:
        """One line."""
        why = "; ".join(reason.message for reason in self.reasons)
        moved = f"{self.old_percentage:g} % to {self.percentage:g} %"
        return f"{self.name}: {self.verdict}, {moved}: {why}"


def tick(
    tx: Connection, slot: str, measured: Sequence[MeasuredRollout], actor: str
) -> list[TickOutcome]:
    """Judge the rollouts and do what the verdicts say, in the order of their numbers.

    ``slot`` names the tick; each rollout's own slot is the one that this falls into. They are
    locked, what was measured of an earlier version does not count, and in a slot that is decided
    nothing moves up again: only harm is acted on. Who was judged says when (``ticked_at``): it
    proves that somebody guards it.
    """
    found = lock_rollouts(tx, [each.rollout_id for each in measured])
    by_id = {each.rollout_id: each for each in measured}
    slots = [slot_within(slot, each.tick_seconds) for each in found]
    evidence = list(_evidence(tx, found, slots, by_id))
    subjects = [each.subject for each in found]
    decided = decide_many(tx, decide_tick, list(zip(subjects, evidence, strict=True)), actor=actor)
    ticks = list(map(ticked, found, slots, decided))
    write(tx, ticks, actor)
    return [_outcome(each) for each in ticks]


def _evidence(
    tx: Connection,
    rollouts: Sequence[FoundRollout],
    slots: Sequence[str],
    measured: dict[int, MeasuredRollout],
) -> Iterator[TickEvidence]:
    versions, groups = _taken(tx, rollouts)
    for rollout, slot in zip(rollouts, slots, strict=True):
        evidence = evidence_of(rollout, slot, measured[rollout.id])
        if rollout.state is State.SCHEDULED:
            group = rollout.exclusion_group
            evidence = evidence.model_copy(
                update={
                    "version_taken_by": versions.get(rollout.model_version),
                    "group_taken_by": None if group is None else groups.get(group),
                }
            )
            if decide_tick(evidence).verdict == "start":  # in the way of those that come after it
                versions[rollout.model_version] = rollout.name
                groups |= {} if group is None else {group: rollout.name}
        yield evidence


def evidence_of(rollout: FoundRollout, slot: str, measured: MeasuredRollout) -> TickEvidence:
    """What a tick of that slot knows of one rollout."""
    return TickEvidence(
        slot=slot,
        latest_slot=rollout.latest_slot,
        now=rollout.now,
        measured_version=measured.version,
        version=rollout.version,
        state=rollout.state,
        percentage=rollout.percentage,
        schedule=rollout.schedule,
        stage_index=rollout.stage_index,
        stage_entered_at=rollout.stage_entered_at,
        paused_seconds=rollout.seconds_paused(rollout.now),
        starts_at=rollout.starts_at,
        policy=rollout.policy,
        readings=measured.readings,
        streaks=rollout.streaks,
        inconclusive_since=rollout.inconclusive_since,
        is_hold_escalated=rollout.is_hold_escalated,
    )


def _taken(
    tx: Connection, rollouts: Sequence[FoundRollout]
) -> tuple[dict[str, str], dict[str, str]]:
    """By which rollout under way the versions and the groups of those to start are taken."""
    waiting = [each for each in rollouts if each.state is State.SCHEDULED]
    if not waiting:
        return {}, {}
    asked = {
        "versions": [each.model_version for each in waiting],
        "groups": [each.exclusion_group for each in waiting if each.exclusion_group],
    }
    rows = tx.execute(QUERIES["rollouts_under_way"], asked).all()
    groups = {row.exclusion_group: row.name for row in rows if row.exclusion_group}
    return {row.model_version: row.name for row in rows}, groups


def _outcome(each: Ticked) -> TickOutcome:
    return TickOutcome(
        rollout_id=each.before.id,
        name=each.before.name,
        model_version=each.before.model_version,
        slot=each.slot,
        verdict=each.verdict,
        reasons=each.reasons,
        old_percentage=each.before.percentage,
        percentage=each.after.percentage,
        state=each.after.state,
        stage_index=each.after.stage_index,
        schedule=each.before.schedule,
        health=each.move.health,
        checks=each.move.checks,
        decision_id=each.decided.id,
        is_escalated=each.move.is_escalated,
        holdouts=each.before.holdouts if each.after.percentage else (),
    )
