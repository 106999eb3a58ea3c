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
    value, count = _shown(reading.canary)
    try:
        question = question_of(check, policy, stages)
        judgements = {name: judge(reading, question) for name, judge in GUARDS.items()}
        operator = question.operator
        value, count = _shown(reading.canary, question)
    except Exception as error:  # a check of somebody else may raise anything
        message = f"{check.name} could not be judged: {type(error).__name__}: {error}"
        reason = Reason("check-error", message)
        judgements = {name: inconclusive(name, reason) for name in GUARDS}
    control_value, control_count = _shown(reading.control) if reading.control else (None, None)
    return CheckResult(
        check=check.name,
        judgement=judgements.pop(policy.guard),
        shadow=next(iter(judgements.values()), None),
        value=value,
        sample_count=count,
        control_value=control_value,
        control_count=control_count,
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


def _shown(measured: Measured, question: Question | None = None) -> tuple[float | None, int | None]:
    """The value to show, and on how many samples it rests: of two, the one beyond the limit."""
    counted = (measured.value, measured.sample_count)
    given = (measured.given_value, measured.given_count)
    if measured.given_value is None:
        return counted
    if measured.value is None:
        return given
    if question is None or not question.passes(measured.value):
        return counted
    return counted if question.passes(measured.given_value) else given
