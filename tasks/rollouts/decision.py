"""What a tick does to a rollout: advance, complete, hold, roll back or skip.

More users need evidence of health; evidence of harm takes the version back to nobody, also while a
person has paused or set the rollout; anything else holds.
"""

from __future__ import annotations

from datetime import UTC

from tasks.decisions import Verdict, rule
from tasks.errors import Reason
from tasks.rollouts.evidence import Move, State, TickEvidence
from tasks.rollouts.health import CheckResult, Health, Measured, merge, run_check
from tasks.rollouts.schedule import TOLERANCE_SECONDS


@rule("rollout-tick", version=1)
def decide_tick(evidence: TickEvidence) -> Verdict:
    """Judge one tick: at most one stage up, and straight to 0 % on evidence of harm."""
    if evidence.state.is_finished:
        reason = Reason("terminal", f"the rollout is {evidence.state.value}")
        return _stay(evidence, "skip", [reason], None)
    if evidence.latest_slot is not None and evidence.slot <= evidence.latest_slot:
        reason = Reason("stale-slot", f"slot {evidence.latest_slot} is already decided")
        return _stay(evidence, "skip", [reason], None)
    checks = _judge_all(evidence)
    health = merge(checks)
    if health is Health.UNHEALTHY:
        return _roll_back(evidence, checks, health, _reasons(checks))
    # At 0 % nobody uses the version, so nothing can be measured; the first stage may begin.
    if health is Health.INCONCLUSIVE and evidence.percentage > 0:
        return _wait_for_data(evidence, checks)
    return _go_on(evidence, checks, health)


def _judge_all(evidence: TickEvidence) -> list[CheckResult]:
    by_metric = {measured.metric: measured for measured in evidence.measured}
    return [
        run_check(by_metric.get(policy.check, Measured(metric=policy.check)), policy)
        for policy in evidence.policy.checks
    ]


def _reasons(checks: list[CheckResult]) -> list[Reason]:
    return [check.reason for check in checks if check.health is not Health.HEALTHY]


def _wait_for_data(evidence: TickEvidence, checks: list[CheckResult]) -> Verdict:
    reasons = [*_reasons(checks), *_blocks(evidence)]
    overdue = _overdue(evidence)
    if overdue is None:
        return _stay(evidence, "hold", reasons, Health.INCONCLUSIVE, checks)
    if evidence.policy.max_hold_action == "rollback":
        return _roll_back(evidence, checks, Health.INCONCLUSIVE, [overdue, *reasons])
    is_new = not evidence.is_hold_escalated
    return _stay(evidence, "hold", [overdue, *reasons], Health.INCONCLUSIVE, checks, is_new)


def _overdue(evidence: TickEvidence) -> Reason | None:
    since, hours = evidence.inconclusive_since, evidence.policy.max_hold_hours
    if since is None or evidence.state is not State.RUNNING:
        return None
    if (evidence.now - since).total_seconds() < hours * 3600 - TOLERANCE_SECONDS:
        return None
    began = f"{since.astimezone(UTC):%F %H:%M} UTC"
    return Reason("max-hold", f"health has not been known for {hours:g} h, since {began}")


def _go_on(evidence: TickEvidence, checks: list[CheckResult], health: Health) -> Verdict:
    blocks = _blocks(evidence)
    if blocks:
        return _stay(evidence, "hold", blocks, health, checks)
    target = evidence.schedule.position(evidence.percentage) + 1
    if target > evidence.schedule.last:
        return _complete(evidence, checks)
    percentage = evidence.schedule.stages[target].percentage
    message = f"{health.value} and due: {evidence.percentage:g} % to {percentage:g} %"
    return _verdict(
        "advance",
        [Reason("stage-passed", message)],
        Move(
            health=health,
            checks=tuple(checks),
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
    if remaining <= TOLERANCE_SECONDS:
        return []
    return [Reason("stage-time", f"{remaining / 3600:.2g} h of this stage remain")]


def _seconds_due(evidence: TickEvidence) -> float:
    # Between two stages (set by hand, then resumed) there is no stage to sit out.
    index, schedule = evidence.stage_index, evidence.schedule
    if index < 0:
        return 0.0
    stage = schedule.stages[index]
    if index < schedule.last and stage.percentage != evidence.percentage:
        return 0.0
    return stage.hours * 3600


def _complete(evidence: TickEvidence, checks: list[CheckResult]) -> Verdict:
    state = State.COMPLETED if evidence.percentage >= 100 else State.PARTIAL
    message = f"healthy through the bake at {evidence.percentage:g} %"
    return _verdict(
        "complete",
        [Reason("bake-passed", message)],
        Move(
            health=Health.HEALTHY,
            checks=tuple(checks),
            state=state,
            percentage=evidence.percentage,
            stage_index=evidence.stage_index,
        ),
    )


def _roll_back(
    evidence: TickEvidence, checks: list[CheckResult], health: Health, reasons: list[Reason]
) -> Verdict:
    move = Move(
        health=health,
        checks=tuple(checks),
        state=State.ROLLED_BACK,
        percentage=0.0,
        stage_index=evidence.stage_index,
    )
    return _verdict("rollback", reasons, move)


def _stay(
    evidence: TickEvidence,
    verdict: str,
    reasons: list[Reason],
    health: Health | None,
    checks: list[CheckResult] | None = None,
    is_escalated: bool = False,
) -> Verdict:
    move = Move(
        health=health,
        checks=tuple(checks or ()),
        state=evidence.state,
        percentage=evidence.percentage,
        stage_index=evidence.stage_index,
        is_escalated=is_escalated,
    )
    return _verdict(verdict, reasons, move)


def _verdict(verdict: str, reasons: list[Reason], move: Move) -> Verdict:
    return Verdict(verdict=verdict, reasons=tuple(reasons), details=move.model_dump(mode="json"))
