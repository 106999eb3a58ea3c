"""What a tick does to a rollout: start, advance, complete, hold, roll back or skip.

Evidence of harm takes the version back to nobody, also while a person has paused or set the
rollout, and in a slot that is decided; a step up needs a slot of its own, the stage's time and
health; anything else holds.
"""

from __future__ import annotations

from datetime import UTC

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.rollouts.definition.schedule import TOLERANCE_SECONDS
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import CheckResult, Health
from tasks.rollouts.ticks.evidence import Move, TickEvidence
from tasks.rollouts.ticks.findings import (
    harm_of,
    health_of,
    judged,
    streaks_of,
    unhealthy_of,
    unknown_of,
)

_UNSEEN = "due; at 0 % there is nothing to judge"


@rule("rollout-tick", version=3)
def decide_tick(evidence: TickEvidence) -> Verdict:
    """Judge one tick: at most one stage up, and straight to 0 % on evidence of harm."""
    skipped = _why_skipped(evidence)
    if skipped is not None:
        return _stay(evidence, "skip", [skipped], None)
    decided = _why_decided(evidence)
    if evidence.state is State.SCHEDULED:
        return _stay(evidence, "skip", [decided], None) if decided else _start(evidence)
    checks = judged(evidence)
    seen = evidence.model_copy(update={"streaks": streaks_of(evidence, checks)})
    harm = harm_of(seen, checks)
    if harm:
        return _roll_back(seen, checks, Health.UNHEALTHY, harm)
    if decided is not None:
        return _stay(evidence, "skip", [decided], health_of(seen, checks), checks)
    # At 0 % nobody uses the version, so nothing can be measured; the first stage may begin.
    unknown = unknown_of(checks) if evidence.percentage > 0 else []
    if unknown:
        return _wait_for_data(seen, checks, unknown)
    blocks = [*unhealthy_of(seen, checks), *_blocks(seen)]
    if blocks:
        return _stay(seen, "hold", blocks, health_of(seen, checks), checks)
    return _go_on(seen, checks)


def _why_skipped(evidence: TickEvidence) -> Reason | None:
    if evidence.state.is_finished or evidence.state is State.DRAFT:
        code = "terminal" if evidence.state.is_finished else "draft"
        return Reason(code, f"the rollout is {evidence.state.value}")
    if evidence.measured_version != evidence.version:
        message = "the rollout was changed while it was measured; the next tick decides"
        return Reason("stale-tick", message)
    return None


def _why_decided(evidence: TickEvidence) -> Reason | None:
    if not evidence.is_slot_decided:
        return None
    if evidence.slot == evidence.latest_slot:
        message = f"slot {evidence.slot} is decided already; only harm was looked for"
        return Reason("slot-decided", message)
    message = f"slot {evidence.latest_slot} is already decided; only harm was looked for"
    return Reason("stale-slot", message)


def _start(evidence: TickEvidence) -> Verdict:
    starts_at = evidence.starts_at or evidence.now
    if (starts_at - evidence.now).total_seconds() > TOLERANCE_SECONDS:
        reason = Reason("not-yet", f"it starts at {starts_at.astimezone(UTC):%F %H:%M} UTC")
        return _stay(evidence, "hold", [reason], None)
    blocks = [*_frozen(evidence), *_taken(evidence)]
    if blocks:
        return _stay(evidence, "hold", blocks, None)
    first = evidence.schedule.stages[0]
    reason = Reason("due", f"due: the first stage, {first.percentage:g} %, begins")
    return _move(
        "start",
        [reason],
        Move(health=None, state=State.RUNNING, percentage=first.percentage, stage_index=0),
    )


def _taken(evidence: TickEvidence) -> list[Reason]:
    """Which rollout is in the way of the start; of a version, or a group, one is under way."""
    reasons = []
    if evidence.version_taken_by is not None:
        message = f"its version is being rolled out by {evidence.version_taken_by}; end that first"
        reasons.append(Reason("version-taken", message))
    if evidence.group_taken_by is not None:
        message = f"its group is taken by {evidence.group_taken_by}; it starts when that ended"
        reasons.append(Reason("group-taken", message))
    return reasons


def _wait_for_data(
    evidence: TickEvidence, checks: tuple[CheckResult, ...], unknown: list[Reason]
) -> Verdict:
    reasons = [*unknown, *unhealthy_of(evidence, checks), *_blocks(evidence)]
    health = health_of(evidence, checks)
    overdue = _overdue(evidence)
    if overdue is None:
        return _stay(evidence, "hold", reasons, health, checks)
    if evidence.policy.max_hold_action == "rollback":
        return _roll_back(evidence, checks, health, [overdue, *reasons])
    is_new = not evidence.is_hold_escalated
    return _stay(evidence, "hold", [overdue, *reasons], health, checks, is_new)


def _overdue(evidence: TickEvidence) -> Reason | None:
    since, hours = evidence.inconclusive_since, evidence.policy.max_hold_hours
    if since is None or evidence.state is not State.RUNNING:
        return None
    if (evidence.now - since).total_seconds() < hours * 3600 - TOLERANCE_SECONDS:
        return None
    began = f"{since.astimezone(UTC):%F %H:%M} UTC"
    return Reason("max-hold", f"health has not been known for {hours:g} h, since {began}")


def _go_on(evidence: TickEvidence, checks: tuple[CheckResult, ...]) -> Verdict:
    health = health_of(evidence, checks)
    target = evidence.schedule.position(evidence.percentage) + 1
    if target > evidence.schedule.last:
        return _complete(evidence, checks)
    percentage = evidence.schedule.stages[target].percentage
    known = f"{health.value} and due" if evidence.percentage else _UNSEEN
    message = f"{known}: {evidence.percentage:g} % to {percentage:g} %"
    return _move(
        "advance",
        [Reason("stage-passed", message)],
        Move(
            health=health,
            checks=checks,
            streaks=evidence.streaks,
            state=State.RUNNING,
            percentage=percentage,
            stage_index=target,
        ),
    )


def _blocks(evidence: TickEvidence) -> list[Reason]:
    """What forbids a step up although the version is healthy."""
    if evidence.state is State.PAUSED:
        return [Reason("paused", "the rollout is paused; resume it to go on")]
    if evidence.state is State.MANUAL_HOLD:
        message = f"{evidence.percentage:g} % was set by hand; resume the schedule to go on"
        return [Reason("manual-hold", message)]
    remaining = _seconds_due(evidence) - evidence.elapsed_seconds
    if remaining > TOLERANCE_SECONDS:
        return [Reason("stage-time", f"{remaining / 3600:.2g} h of this stage remain")]
    return _frozen(evidence)


def _frozen(evidence: TickEvidence) -> list[Reason]:
    freezes = [each for each in evidence.policy.freezes if each.covers(evidence.now)]
    return [Reason("frozen", f"no step up is taken {each}") for each in freezes]


def _seconds_due(evidence: TickEvidence) -> float:
    # Between two stages (set by hand, then resumed) there is no stage to sit out.
    index, schedule = evidence.stage_index, evidence.schedule
    if index < 0:
        return 0.0
    stage = schedule.stages[index]
    if index < schedule.last and stage.percentage != evidence.percentage:
        return 0.0
    return stage.hours * 3600


def _complete(evidence: TickEvidence, checks: tuple[CheckResult, ...]) -> Verdict:
    state = State.COMPLETED if evidence.percentage >= 100 else State.PARTIAL
    message = f"healthy through the bake at {evidence.percentage:g} %"
    return _move(
        "complete",
        [Reason("bake-passed", message)],
        Move(
            health=health_of(evidence, checks),
            checks=checks,
            streaks=evidence.streaks,
            state=state,
            percentage=evidence.percentage,
            stage_index=evidence.stage_index,
        ),
    )


def _roll_back(
    evidence: TickEvidence,
    checks: tuple[CheckResult, ...],
    health: Health,
    reasons: list[Reason],
) -> Verdict:
    return _move(
        "rollback",
        reasons,
        Move(
            health=health,
            checks=checks,
            streaks=evidence.streaks,
            state=State.ROLLED_BACK,
            percentage=0.0,
            stage_index=evidence.stage_index,
        ),
    )


def _stay(
    evidence: TickEvidence,
    verdict: str,
    reasons: list[Reason],
    health: Health | None,
    checks: tuple[CheckResult, ...] = (),
    is_escalated: bool = False,
) -> Verdict:
    return _move(
        verdict,
        reasons,
        Move(
            health=health,
            checks=checks,
            streaks=evidence.streaks,
            state=evidence.state,
            percentage=evidence.percentage,
            stage_index=evidence.stage_index,
            is_escalated=is_escalated,
        ),
    )


def _move(verdict: str, reasons: list[Reason], move: Move) -> Verdict:
    details = move.model_dump(mode="json")
    return Verdict(verdict=verdict, reasons=tuple(reasons), details=details)
