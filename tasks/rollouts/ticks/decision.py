"""What a tick does to a rollout: start, advance, complete, hold, roll back or skip.

Evidence of harm takes the version back to nobody, also while a person has paused or set the
rollout; a step up needs the stage's time and health; anything else holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.definition.schedule import TOLERANCE_SECONDS
from tasks.rollouts.definition.state import State, Streak
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import CheckResult, Health, Measured, Reading
from tasks.rollouts.ticks.evidence import Move, TickEvidence


@rule("rollout-tick", version=2)
def decide_tick(evidence: TickEvidence) -> Verdict:
    """Judge one tick: at most one stage up, and straight to 0 % on evidence of harm."""
    skipped = _why_skipped(evidence)
    if skipped is not None:
        return _stay(evidence, "skip", [skipped], None)
    if evidence.state is State.SCHEDULED:
        return _start(evidence)
    checks = tuple(_judge(evidence, check) for check in evidence.policy.checks)
    seen = evidence.model_copy(update={"streaks": _streaks(evidence, checks)})
    harm = _harm(seen, checks)
    if harm:
        return _roll_back(seen, checks, Health.UNHEALTHY, harm)
    # At 0 % nobody uses the version, so nothing can be measured; the first stage may begin.
    unknown = _unknown(checks) if evidence.percentage > 0 else []
    if unknown:
        return _wait_for_data(seen, checks, unknown)
    blocks = [*_unhealthy(seen, checks), *_blocks(seen)]
    if blocks:
        return _stay(seen, "hold", blocks, _health(seen, checks), checks)
    return _go_on(seen, checks)


def _why_skipped(evidence: TickEvidence) -> Reason | None:
    if evidence.state.is_finished or evidence.state is State.DRAFT:
        code = "terminal" if evidence.state.is_finished else "draft"
        return Reason(code, f"the rollout is {evidence.state.value}")
    if evidence.latest_slot is not None and evidence.slot <= evidence.latest_slot:
        return Reason("stale-slot", f"slot {evidence.latest_slot} is already decided")
    if evidence.measured_version != evidence.version:
        message = "the rollout was changed while it was measured; the next tick decides"
        return Reason("stale-tick", message)
    return None


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


def _judge(evidence: TickEvidence, check: CheckPolicy) -> CheckResult:
    reading = next((each for each in evidence.readings if each.check == check.name), None)
    reading = reading or Reading(
        check=check.name,
        canary=Measured(),
        window_start=evidence.now,
        window_end=evidence.now,
    )
    return judge_check(reading, check, evidence.policy, len(evidence.schedule.stages))


def _streaks(evidence: TickEvidence, checks: Sequence[CheckResult]) -> dict[str, Streak]:
    return {
        each.check: _streak(evidence.streaks.get(each.check, Streak()), each) for each in checks
    }


def _streak(before: Streak, check: CheckResult) -> Streak:
    if check.health is Health.INCONCLUSIVE:
        return before.model_copy(update={"inconclusive": before.inconclusive + 1})
    if check.health is Health.UNHEALTHY:
        return Streak(unhealthy=before.unhealthy + 1)
    return Streak(healthy=before.healthy + 1)


def _harm(evidence: TickEvidence, checks: Sequence[CheckResult]) -> list[Reason]:
    """Why the version must go back to nobody: every check that says so, k times in a row."""
    return [
        each.reason
        for each, policy in zip(checks, evidence.policy.checks, strict=True)
        if _is_harm(each, evidence.streaks[each.check].unhealthy, policy)
    ]


def _is_harm(check: CheckResult, streak: int, policy: CheckPolicy) -> bool:
    return (
        check.health is Health.UNHEALTHY
        and not check.judgement.is_shared
        and not policy.is_shadow
        and policy.action == "rollback"
        and streak >= policy.consecutive
    )


def _unknown(checks: Sequence[CheckResult]) -> list[Reason]:
    """Why health is not known, by the checks that may hold a rollout back."""
    return [each.reason for each in _deciding(checks) if each.health is Health.INCONCLUSIVE]


def _unhealthy(evidence: TickEvidence, checks: Sequence[CheckResult]) -> list[Reason]:
    """What is unhealthy and yet no harm: not often enough in a row, or only to be held at."""
    return [
        Reason("unhealthy", f"{each.reason.message}; {_times(evidence, each)}")
        for each in _deciding(checks)
        if each.health is Health.UNHEALTHY
    ]


def _times(evidence: TickEvidence, check: CheckResult) -> str:
    times = evidence.streaks[check.check].unhealthy
    follows = "hold" if check.judgement.is_shared else check.action
    return f"{times} time{'s' if times > 1 else ''} in a row, {follows} is what follows"


def _deciding(checks: Sequence[CheckResult]) -> list[CheckResult]:
    return [each for each in checks if not each.is_shadow and each.action != "warn"]


def _health(evidence: TickEvidence, checks: Sequence[CheckResult]) -> Health:
    verdicts = {each.health for each in _deciding(checks)}
    if Health.UNHEALTHY in verdicts:
        return Health.UNHEALTHY
    is_unknown = Health.INCONCLUSIVE in verdicts and evidence.percentage > 0
    return Health.INCONCLUSIVE if is_unknown else Health.HEALTHY


def _wait_for_data(
    evidence: TickEvidence, checks: tuple[CheckResult, ...], unknown: list[Reason]
) -> Verdict:
    reasons = [*unknown, *_unhealthy(evidence, checks), *_blocks(evidence)]
    health = _health(evidence, checks)
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
    health = _health(evidence, checks)
    target = evidence.schedule.position(evidence.percentage) + 1
    if target > evidence.schedule.last:
        return _complete(evidence, checks)
    percentage = evidence.schedule.stages[target].percentage
    message = f"{health.value} and due: {evidence.percentage:g} % to {percentage:g} %"
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
            health=_health(evidence, checks),
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
