"""Write down what a tick of a batch made: checks, standings, audit, alerts and news, together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from tasks import jsonb
from tasks.alerts import recording
from tasks.alerts.telling import notice_of
from tasks.errors import TransientError
from tasks.notifications.outbox import announce_all
from tasks.rollouts.changes.announcing import RolloutChange, notices_of
from tasks.rollouts.health.measured import CheckResult
from tasks.rollouts.ticks.found import QUERIES, FoundRollout
from tasks.rollouts.ticks.observing import observations_of
from tasks.rollouts.ticks.ticked import Ticked

_STANDING = (
    "id",
    "percentage",
    "state",
    "stage_index",
    "stage_entered_at",
    "paused_at",
    "paused_seconds",
    "inconclusive_since",
    "is_hold_escalated",
    "source_error_count",
    "streaks",
    "ticked_at",
    "finished_at",
    "version",
)
_ONE_UNDER_WAY = {"idx_rollout_one_active", "idx_rollout_one_in_group"}


def write(tx: Connection, ticks: Sequence[Ticked], actor: str) -> None:
    """Write all of it in the caller's transaction.

    In a slot that is decided its checks stay as they are: what rolls back there is written without
    the slot, as a rollback by hand is. TransientError where somebody started a rollout of the same
    version or group meanwhile.
    """
    changes = [(each, _change(each, actor)) for each in ticks if each.cause is not None]
    _record(
        tx,
        checks=[
            _check_row(each, check)
            for each in ticks
            if not each.is_slot_decided
            for check in each.move.checks
        ],
        changes=[_change_row(each, change) for each, change in changes],
        standings=[_standing(each.after) for each in ticks if not each.before.state.is_finished],
    )
    seen = [seen for each in ticks for seen in observations_of(each)]
    alerts = recording.record(tx, seen, actor=actor)
    told = [*map(notice_of, alerts), *(n for _, change in changes for n in notices_of(change))]
    announce_all(tx, told)


def _record(tx: Connection, **rows: list[dict[str, Any]]) -> None:
    if not any(rows.values()):
        return
    try:
        tx.execute(QUERIES["record_ticks"], {name: jsonb.dump(each) for name, each in rows.items()})
    except IntegrityError as error:
        said = getattr(error.orig, "diag", None)
        if said is None or said.constraint_name not in _ONE_UNDER_WAY:
            raise
        message = "another rollout of the version or the group started at the same moment"
        raise TransientError(message) from error


def _standing(rollout: FoundRollout) -> dict[str, Any]:
    return {name: getattr(rollout, name) for name in _STANDING}


def _change(each: Ticked, actor: str) -> RolloutChange:
    return RolloutChange(
        rollout_id=each.before.id,
        version=each.after.version,
        name=each.before.name,
        model_version=each.before.model_version,
        old_percentage=each.before.percentage,
        new_percentage=each.after.percentage,
        old_state=each.before.state,
        new_state=each.after.state,
        cause=each.verdict,
        actor=actor,
        reason=each.said,
    )


def _change_row(each: Ticked, change: RolloutChange) -> dict[str, Any]:
    check = each.deciding_check
    return change.model_dump() | {
        "slot": None if each.is_slot_decided else each.slot,
        "decision_id": each.decided.id,
        "deciding_metric": None if check is None else check.check,
        "changed_at": each.before.now,
    }


def _check_row(each: Ticked, check: CheckResult) -> dict[str, Any]:
    return {
        "rollout_id": each.before.id,
        "slot": each.slot,
        "metric": check.check,
        "verdict": check.health,
        "reason_code": check.reason.code,
        "message": check.reason.message,
        "value": check.value,
        "operator": check.operator,
        "limit_value": check.limit,
        "sample_count": check.sample_count,
        "min_samples": check.min_samples,
        "window_start": check.window_start,
        "window_end": check.window_end,
        "decision_id": each.decided.id,
        "checked_at": each.before.now,
        "guard": check.judgement.guard,
        "action": check.action,
        "is_shadow": check.is_shadow,
        "is_shared": check.judgement.is_shared,
        "control_value": check.control_value,
        "control_count": check.control_count,
        "evidence": check.judgement.evidence,
        "shadow_guard": check.shadow and check.shadow.guard,
        "shadow_verdict": check.shadow and check.shadow.health,
        "shadow_message": check.shadow and check.shadow.reason.message,
    }
