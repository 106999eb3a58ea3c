"""What a tick made of one rollout: the verdict, and where it stands after it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.decisions import Decided
from tasks.errors import Reason
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.ticks.evidence import Move
from tasks.rollouts.ticks.found import FoundRollout

_CAUSES = {"start", "advance", "complete", "rollback"}
_SOURCE_TROUBLES = {"source-error", "check-error"}


@dataclass(frozen=True)
class Ticked:
    """One rollout before and after its tick."""

    slot: str
    before: FoundRollout
    after: FoundRollout
    decided: Decided
    move: Move

    @property
    def is_slot_decided(self) -> bool:
        """True if this slot, or one after it, was decided before."""
        latest = self.before.latest_slot
        return latest is not None and self.slot <= latest

    @property
    def verdict(self) -> str:
        """What was decided, in a word."""
        return self.decided.verdict.verdict

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why."""
        return self.decided.verdict.reasons

    @property
    def cause(self) -> str | None:
        """What the audit calls the change; None if nothing changed."""
        return self.verdict if self.verdict in _CAUSES else None

    @property
    def said(self) -> str:
        """Why, on one line."""
        return "; ".join(reason.message for reason in self.reasons)

    @property
    def is_end(self) -> bool:
        """True if this tick ended the rollout."""
        return self.after.state.is_finished and not self.before.state.is_finished

    @property
    def deciding_check(self) -> CheckResult | None:
        """The check that the verdict rests on: the first that it names, or that says the same."""
        named = (check for check in self.move.checks if check.reason in self.reasons)
        alike = (check for check in self.move.checks if check.health is self.move.health)
        return next(named, None) or next(alike, None)


def ticked(rollout: FoundRollout, slot: str, decided: Decided) -> Ticked:
    """What the verdict makes of the rollout; only who was judged is known to be guarded."""
    move = Move.model_validate(decided.verdict.details)
    is_skipped = decided.verdict.verdict == "skip"
    is_judged = not is_skipped or bool(move.checks)
    after = rollout.changed(ticked_at=rollout.now) if is_judged else rollout
    if not is_skipped:
        after = _moved(after, move)
    if decided.verdict.verdict in _CAUSES:
        after = after.changed(version=rollout.version + 1)
    return Ticked(slot, rollout, after, decided, move)


def is_source_trouble(check: CheckResult) -> bool:
    """True if nothing is known because the source, or the check itself, failed."""
    return check.reason.code in _SOURCE_TROUBLES


def _moved(rollout: FoundRollout, move: Move) -> FoundRollout:
    now = rollout.now
    is_known = move.health is not Health.INCONCLUSIVE
    after = rollout.changed(
        state=move.state,
        inconclusive_since=None if is_known else rollout.inconclusive_since or now,
        is_hold_escalated=not is_known and (rollout.is_hold_escalated or move.is_escalated),
        source_error_count=_source_errors(rollout, move),
        streaks=move.streaks,
    )
    if move.percentage != rollout.percentage or move.stage_index != rollout.stage_index:
        after = after.at(move.percentage, move.stage_index, now)
    if move.state.is_finished:
        after = after.changed(finished_at=now, paused_at=None)
    return after


def _source_errors(rollout: FoundRollout, move: Move) -> int:
    """So many ticks in a row some source could not be read."""
    is_troubled = any(map(is_source_trouble, move.checks))
    return rollout.source_error_count + 1 if is_troubled else 0
