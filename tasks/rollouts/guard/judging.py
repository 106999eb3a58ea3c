"""Judge every check of a rollout: by its guard, and beside it by the other one."""

from __future__ import annotations

from tasks.errors import Reason
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.guard import sequential, threshold
from tasks.rollouts.guard.model import Guard, Question, inconclusive
from tasks.rollouts.health.checks import Quantity, health_checks
from tasks.rollouts.health.measured import CheckResult, Measured, Reading

GUARDS: dict[str, Guard] = {threshold.NAME: threshold.judge, sequential.NAME: sequential.judge}


def judge_check(
    reading: Reading, check: CheckPolicy, policy: RolloutPolicy, stages: int
) -> CheckResult:
    """Judge one check; one that raises, or is gone, is inconclusive, never healthy."""
    operator = check.operator
    try:
        question = question_of(check, policy, stages)
        judgements = {name: judge(reading, question) for name, judge in GUARDS.items()}
        operator = question.operator
    except Exception as error:  # a check of somebody else may raise anything
        message = f"{check.name} could not be judged: {type(error).__name__}: {error}"
        reason = Reason("check-error", message)
        judgements = {name: inconclusive(name, reason) for name in GUARDS}
    return CheckResult(
        check=check.name,
        judgement=judgements.pop(policy.guard),
        shadow=next(iter(judgements.values()), None),
        value=_value(reading.canary),
        sample_count=_count(reading.canary),
        control_value=reading.control and _value(reading.control),
        control_count=reading.control and _count(reading.control),
        operator=operator,
        limit=check.limit,
        min_samples=check.min_samples,
        action=check.action,
        is_shadow=check.is_shadow,
        window_start=reading.window_start,
        window_end=reading.window_end,
    )


def question_of(check: CheckPolicy, policy: RolloutPolicy, stages: int) -> Question:
    """What a guard is asked about a check. Raise UnknownName for a check that nobody registered.

    The chance of a false alarm is shared out evenly over the ``stages`` of the schedule and the
    checks that can roll back, so that all together keep to the policy's ``alpha``.
    """
    acting = sum(each.action == "rollback" and not each.is_shadow for each in policy.checks)
    return Question(
        policy=check,
        quantity=_quantity(check),
        alpha=policy.alpha / max(stages * acting, 1),
        is_strict=policy.is_strict,
    )


def _quantity(check: CheckPolicy) -> Quantity:
    quantity: object = health_checks.get(check.check)()
    if not isinstance(quantity, Quantity):
        raise TypeError(f"it gave {type(quantity).__name__}, not Quantity")
    return quantity


def _value(measured: Measured) -> float | None:
    return measured.value if measured.value is not None else measured.given_value


def _count(measured: Measured) -> int | None:
    return measured.given_count if measured.value is None else measured.sample_count
