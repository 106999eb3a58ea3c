"""Whether a check can come to a verdict at all with the traffic that a rollout will see."""

from __future__ import annotations

from math import log

from tasks.errors import Reason
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import Schedule
from tasks.rollouts.guard.judging import question_of
from tasks.rollouts.guard.mixtures import log_e_below
from tasks.rollouts.guard.model import Question


def can_decide(
    check: CheckPolicy,
    policy: RolloutPolicy,
    schedule: Schedule,
    requests_per_hour: float | None,
    healthy_rate: float | None = None,
    tick_hours: float = 1.0,
) -> Reason | None:
    """Why a check would hold the rollout up in some stage whatever happens; None if it need not.

    ``requests_per_hour`` are those of all versions; None: not stated, so nothing is known. A stage
    shorter than a tick is judged after one tick. Where evidence of health is asked for, a version
    with ``healthy_rate`` (by default a flawless one) must be able to give it. A value that comes
    without a count needs no samples, so a check of such values is never refused, nor is one that
    cannot hold. Raise UnknownName for a check that nobody registered.
    """
    question = question_of(check, policy, len(schedule.stages))
    if requests_per_hour is None or not _holds(check) or question.quantity.kind == "value":
        return None
    for stage in schedule.stages:
        hours = max(stage.hours, tick_hours)
        if policy.guard == "threshold":
            hours = min(hours, check.window_hours)
        count = requests_per_hour * stage.percentage / 100 * hours
        expected = f"{count:.4g} are expected in the {hours:g} h of the stage at"
        where = f"{expected} {stage.percentage:g} % of {requests_per_hour:g} requests an hour"
        reason = _too_few(question, count, where) or _too_weak(
            question, count, healthy_rate, where, policy
        )
        if reason is not None:
            return reason
    return None


def needs_spread(check: CheckPolicy, policy: RolloutPolicy) -> bool:
    """Tell whether a check that can hold is judged by the spread of its values: by sums of squares.

    Raise UnknownName for a check that nobody registered.
    """
    kind = question_of(check, policy, stages=1).quantity.kind
    return policy.guard == "sequential" and kind == "mean" and _holds(check)


def _holds(check: CheckPolicy) -> bool:
    return check.action != "warn" and not check.is_shadow


def _too_few(question: Question, count: float, where: str) -> Reason | None:
    check = question.policy
    if count >= check.min_samples:
        return None
    message = (
        f"{check.name} is judged on {check.min_samples} samples at least, but {where}; lengthen "
        "the stage, begin with more users or ask for fewer samples"
    )
    return Reason("too-little-traffic", message)


def _too_weak(
    question: Question, count: float, rate: float | None, where: str, policy: RolloutPolicy
) -> Reason | None:
    if policy.guard != "sequential" or not policy.is_strict or question.quantity.kind != "rate":
        return None
    if question.is_low_good:
        bad, limit = rate or 0.0, question.policy.limit
    else:
        bad, limit = 1 - (1.0 if rate is None else rate), 1 - question.policy.limit
    if log_e_below(bad * count, count, limit) >= -log(question.alpha):
        return None
    given = "a flawless version" if rate is None else f"a version with {rate:g}"
    message = (
        f"{question.policy.name}: {given} could not be shown to be {question.operator} "
        f"{question.policy.limit:g}, as is_strict asks, where {where}; lengthen the stage, begin "
        "with more users or do without is_strict"
    )
    return Reason("too-little-traffic", message)
