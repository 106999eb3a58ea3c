"""One tick of one rollout: measure, decide and act, all in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row

from tasks import clock, jsonb
from tasks.decisions import Decided, decide
from tasks.errors import Reason
from tasks.rollouts import record
from tasks.rollouts.decision import decide_tick
from tasks.rollouts.evidence import Move, TickEvidence, window_of
from tasks.rollouts.health.measured import CheckResult, Health, Reading
from tasks.rollouts.health.samples import read_samples
from tasks.rollouts.health.sources.model import Asked
from tasks.rollouts.record import QUERIES, Rollout
from tasks.rollouts.schedule import Schedule
from tasks.rollouts.state import State

_CAUSES = {"start": "start", "advance": "advance", "complete": "complete", "rollback": "rollback"}
_SOURCE_TROUBLES = {"source-error", "check-error"}


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

    @property
    def summary(self) -> str:
        """One line."""
        why = "; ".join(reason.message for reason in self.reasons)
        moved = f"{self.old_percentage:g} % to {self.percentage:g} %"
        return f"{self.name}: {self.verdict}, {moved}: {why}"


def tick(tx: Connection, rollout_id: int, slot: str, actor: str) -> TickOutcome:
    """Judge one rollout for one slot and do what the verdict says; a decided slot does nothing."""
    rollout = record.lock(tx, rollout_id)
    decided_slots = tx.execute(
        QUERIES["decided_slots"], {"rollout_id": rollout.id, "slot": slot}
    ).one()
    if decided_slots.is_decided:
        return _repeated(rollout, slot)
    evidence = _gather(tx, rollout, slot, decided_slots)
    decided = decide(tx, decide_tick, evidence, subject=f"rollout:{rollout.id}", actor=actor)
    move = Move.model_validate(decided.verdict.details)
    if decided.verdict.verdict != "skip":
        _carry_out(tx, rollout, evidence, decided, move, actor)
    return _outcome(rollout, evidence, decided, move)


def measure(
    tx: Connection, rollout: Rollout, now: datetime, latest_end: datetime | None
) -> list[Reading]:
    """What the samples say of the version and of its control; a broken source is told."""
    asked = []
    for check in rollout.policy.checks:
        start, end = window_of(check, rollout.policy, rollout.stage_entered_at, now, latest_end)
        each = Asked(
            rollout_id=rollout.id,
            check=check,
            model_version=rollout.model_version,
            control_version=rollout.control_version,
            window_start=start,
            window_end=end,
        )
        asked.append(each)
    return read_samples(tx, asked)


def _gather(tx: Connection, rollout: Rollout, slot: str, decided: Row[Any]) -> TickEvidence:
    now = clock.now(tx)
    is_live = rollout.state.is_begun and not rollout.state.is_finished
    return TickEvidence(
        slot=slot,
        latest_slot=decided.latest_slot,
        now=now,
        measured_version=rollout.version,
        version=rollout.version,
        state=rollout.state,
        percentage=rollout.percentage,
        schedule=rollout.schedule,
        stage_index=rollout.stage_index,
        stage_entered_at=rollout.stage_entered_at,
        paused_seconds=rollout.seconds_paused(now),
        starts_at=rollout.starts_at,
        policy=rollout.policy,
        readings=tuple(measure(tx, rollout, now, decided.latest_window_end)) if is_live else (),
        streaks=rollout.streaks,
        inconclusive_since=rollout.inconclusive_since,
        is_hold_escalated=rollout.is_hold_escalated,
    )


def _carry_out(
    tx: Connection,
    rollout: Rollout,
    evidence: TickEvidence,
    decided: Decided,
    move: Move,
    actor: str,
) -> None:
    check_ids = {
        check.check: _record_check(tx, rollout, evidence, decided.id, check)
        for check in move.checks
    }
    after = record.save(tx, _moved(rollout, move, evidence.now))
    cause = _CAUSES.get(decided.verdict.verdict)
    if cause is not None:
        deciding = next((c for c in move.checks if c.health is move.health), None)
        record.record_change(
            tx,
            rollout,
            after,
            evidence.now,
            cause=cause,
            actor=actor,
            reason="; ".join(reason.message for reason in decided.verdict.reasons),
            slot=evidence.slot,
            decision_id=decided.id,
            health_check_id=check_ids[deciding.check] if deciding else None,
        )


def _moved(rollout: Rollout, move: Move, now: datetime) -> Rollout:
    is_known = move.health is not Health.INCONCLUSIVE
    troubled = any(check.reason.code in _SOURCE_TROUBLES for check in move.checks)
    after = rollout.changed(
        state=move.state,
        inconclusive_since=None if is_known else rollout.inconclusive_since or now,
        is_hold_escalated=not is_known and (rollout.is_hold_escalated or move.is_escalated),
        source_error_count=rollout.source_error_count + 1 if troubled else 0,
        streaks=move.streaks,
        ticked_at=now,
    )
    if move.percentage != rollout.percentage or move.stage_index != rollout.stage_index:
        after = after.at(move.percentage, move.stage_index, now)
    if move.state.is_finished:
        after = after.changed(finished_at=now, paused_at=None)
    return after


def _record_check(
    tx: Connection,
    rollout: Rollout,
    evidence: TickEvidence,
    decision_id: int,
    check: CheckResult,
) -> int:
    check_id = tx.scalar(
        QUERIES["record_check"],
        {
            "rollout_id": rollout.id,
            "slot": evidence.slot,
            "metric": check.check,
            "verdict": check.health.value,
            "reason_code": check.reason.code,
            "message": check.reason.message,
            "value": check.value,
            "operator": check.operator,
            "limit_value": check.limit,
            "sample_count": check.sample_count,
            "min_samples": check.min_samples,
            "window_start": check.window_start,
            "window_end": check.window_end,
            "decision_id": decision_id,
            "checked_at": evidence.now,
            "guard": check.judgement.guard,
            "action": check.action,
            "is_shadow": check.is_shadow,
            "is_shared": check.judgement.is_shared,
            "control_value": check.control_value,
            "control_count": check.control_count,
            "evidence": jsonb.dump(check.judgement.evidence),
            "shadow_guard": check.shadow and check.shadow.guard,
            "shadow_verdict": check.shadow and check.shadow.health.value,
            "shadow_message": check.shadow and check.shadow.reason.message,
        },
    )
    return int(check_id or 0)


def _repeated(rollout: Rollout, slot: str) -> TickOutcome:
    reason = Reason("slot-decided", f"slot {slot} is decided already; nothing was done")
    return TickOutcome(
        rollout_id=rollout.id,
        name=rollout.name,
        model_version=rollout.model_version,
        slot=slot,
        verdict="skip",
        reasons=(reason,),
        old_percentage=rollout.percentage,
        percentage=rollout.percentage,
        state=rollout.state,
        stage_index=rollout.stage_index,
        schedule=rollout.schedule,
    )


def _outcome(rollout: Rollout, evidence: TickEvidence, decided: Decided, move: Move) -> TickOutcome:
    return TickOutcome(
        rollout_id=rollout.id,
        name=rollout.name,
        model_version=rollout.model_version,
        slot=evidence.slot,
        verdict=decided.verdict.verdict,
        reasons=decided.verdict.reasons,
        old_percentage=rollout.percentage,
        percentage=move.percentage,
        state=move.state,
        stage_index=move.stage_index,
        schedule=rollout.schedule,
        health=move.health,
        checks=move.checks,
        decision_id=decided.id,
        is_escalated=move.is_escalated,
    )
