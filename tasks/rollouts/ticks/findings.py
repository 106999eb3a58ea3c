"""What the checks of a tick say of a version: harm, trouble, health, or nothing known. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.errors import Reason
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.definition.state import Streak
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import CheckResult, Health, Measured, Reading
from tasks.rollouts.ticks.evidence import TickEvidence


def judged(evidence: TickEvidence) -> tuple[CheckResult, ...]:
    """Every check of the policy, judged on its reading; without one, on nothing."""
    return tuple(_judged(evidence, check) for check in evidence.policy.checks)


def _judged(evidence: TickEvidence, check: CheckPolicy) -> CheckResult:
    reading = next((each for each in evidence.readings if each.check == check.name), None)
    reading = reading or Reading(
        check=check.name,
        canary=Measured(),
        window_start=evidence.now,
        window_end=evidence.now,
    )
    return judge_check(reading, check, evidence.policy, len(evidence.schedule.stages))


def streaks_of(evidence: TickEvidence, checks: Sequence[CheckResult]) -> dict[str, Streak]:
    """How often in a row each check came out the same, this tick counted in.

    A second look at one slot is no second time.
    """
    found = ((each, evidence.streaks.get(each.check, Streak())) for each in checks)
    return {
        each.check: _seen_again(before, each) if evidence.is_slot_decided else _streak(before, each)
        for each, before in found
    }


def _seen_again(before: Streak, check: CheckResult) -> Streak:
    is_first = check.health is Health.UNHEALTHY and before.unhealthy == 0
    return Streak(unhealthy=1) if is_first else before


def _streak(before: Streak, check: CheckResult) -> Streak:
    if check.health is Health.INCONCLUSIVE:
        return before.model_copy(update={"inconclusive": before.inconclusive + 1})
    if check.health is Health.UNHEALTHY:
        return Streak(unhealthy=before.unhealthy + 1)
    return Streak(healthy=before.healthy + 1)


def harm_of(evidence: TickEvidence, checks: Sequence[CheckResult]) -> list[Reason]:
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


def unknown_of(checks: Sequence[CheckResult]) -> list[Reason]:
    """Why health is not known, by the checks that may hold a rollout back."""
    return [each.reason for each in _deciding(checks) if each.health is Health.INCONCLUSIVE]


def unhealthy_of(evidence: TickEvidence, checks: Sequence[CheckResult]) -> list[Reason]:
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


def health_of(evidence: TickEvidence, checks: Sequence[CheckResult]) -> Health:
    """The health of the version, by the checks that may hold a rollout back.

    At 0 % nobody uses it, so what is not known there is no hindrance.
    """
    verdicts = {each.health for each in _deciding(checks)}
    if Health.UNHEALTHY in verdicts:
        return Health.UNHEALTHY
    is_unknown = Health.INCONCLUSIVE in verdicts and evidence.percentage > 0
    return Health.INCONCLUSIVE if is_unknown else Health.HEALTHY
