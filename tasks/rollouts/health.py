"""Is the new version healthy? Three answers: healthy, unhealthy, or not known.

A health check is one registered function that judges what was measured against its limit:

    @health_checks.register("queue_depth")
    def queue_depth(measured: Measured, policy: CheckPolicy) -> CheckResult:
        return judge(measured, policy, "<")

Its name is the metric under which samples are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from math import inf
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import Reason
from tasks.registry import Registry

Operator: TypeAlias = Literal["<", ">"]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
SHARE = (0.0, 1.0)


class Health(StrEnum):
    """The verdict on a version; only evidence of health is healthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    INCONCLUSIVE = "inconclusive"


class Measured(BaseModel):
    """What the samples of one metric add up to inside the window; no row values.

    ``value_sum`` over ``sample_count`` is the mean of the samples that came with a count (a rate is
    the mean of noughts and ones); ``given_value`` is the mean of values that came without one.
    ``broken_rows`` counts samples that are no finite number; they are in none of the sums.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    value_sum: Finite = 0.0
    sample_count: int = 0
    given_value: Finite | None = None
    given_rows: int = 0
    broken_rows: int = 0
    source_error: str | None = None

    @property
    def value(self) -> float | None:
        """Mean of the counted samples; None without any."""
        return self.value_sum / self.sample_count if self.sample_count > 0 else None


class CheckPolicy(BaseModel):
    """Which check, against which limit, on how many samples at least.

    The value must be strictly on the good side: equal to the limit is unhealthy. Below
    ``min_samples`` counted samples there is no verdict; a value given without a count is judged as
    given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Annotated[str, Field(min_length=1)]
    limit: Finite
    min_samples: Annotated[int, Field(ge=0)] = 500


class CheckResult(BaseModel):
    """One check's verdict, with everything that a person needs to follow it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    health: Health
    reason: Reason
    value: float | None = None
    operator: Operator | None = None
    limit: float
    sample_count: int | None = None
    min_samples: int


HealthCheck: TypeAlias = Callable[[Measured, CheckPolicy], CheckResult]
health_checks: Registry[HealthCheck] = Registry("health check", "headway.health_checks")


@health_checks.register("error_rate")
def error_rate(measured: Measured, policy: CheckPolicy) -> CheckResult:
    """Share of requests that failed: the sum counts errors, the count requests."""
    return judge(measured, policy, "<", possible=SHARE)


@health_checks.register("latency")
def latency(measured: Measured, policy: CheckPolicy) -> CheckResult:
    """Mean latency in milliseconds: the sum adds them up, the count counts requests."""
    return judge(measured, policy, "<", possible=(0.0, inf))


@health_checks.register("accuracy")
def accuracy(measured: Measured, policy: CheckPolicy) -> CheckResult:
    """Share of right answers: the sum counts right ones, the count answers."""
    return judge(measured, policy, ">", possible=SHARE)


DEFAULT_CHECKS = (
    CheckPolicy(check="error_rate", limit=0.05),
    CheckPolicy(check="latency", limit=200.0),
    CheckPolicy(check="accuracy", limit=0.75),
)


def judge(
    measured: Measured,
    policy: CheckPolicy,
    operator: Operator,
    possible: tuple[float, float] = (-inf, inf),
) -> CheckResult:
    """Compare what was measured with the limit; what is missing or broken is inconclusive.

    Counted samples and values given without a count are judged apart: one unhealthy answer is
    enough, and only two healthy ones (where both exist) are healthy. A value outside ``possible``
    is never healthy: an accuracy of 60 is a percentage that was sent as a share.
    """
    parts = []
    if measured.given_value is not None:
        parts.append(_compare(measured, policy, operator, measured.given_value, None, possible))
    if measured.value is not None:
        count = measured.sample_count
        parts.append(_compare(measured, policy, operator, measured.value, count, possible))
    unknown = _missing(measured)
    if unknown is not None:
        parts.append(_result(measured, policy, operator, Health.INCONCLUSIVE, unknown))
    return worst(parts)


def merge(results: Iterable[CheckResult]) -> Health:
    """Any unhealthy check wins, then any inconclusive one; no check at all is inconclusive."""
    verdicts = {result.health for result in results}
    if Health.UNHEALTHY in verdicts:
        return Health.UNHEALTHY
    return Health.HEALTHY if verdicts == {Health.HEALTHY} else Health.INCONCLUSIVE


def worst(results: list[CheckResult]) -> CheckResult:
    """The first result that has the merged verdict."""
    health = merge(results)
    return next(result for result in results if result.health is health)


def run_check(measured: Measured, policy: CheckPolicy) -> CheckResult:
    """Run the registered check; one that raises, or is gone, is inconclusive, never healthy."""
    try:
        result: object = health_checks.get(policy.check)(measured, policy)
        if not isinstance(result, CheckResult):
            raise TypeError(f"it gave {type(result).__name__}, not CheckResult")  # noqa: TRY301
        return result.model_copy(update={"check": policy.check})
    except Exception as error:  # a check of somebody else may raise anything
        message = f"{policy.check} could not be judged: {type(error).__name__}: {error}"
        return _result(measured, policy, None, Health.INCONCLUSIVE, Reason("check-error", message))


def _missing(measured: Measured) -> Reason | None:
    metric = measured.metric
    if measured.source_error is not None:
        return Reason("source-error", f"{metric} could not be read: {measured.source_error}")
    if measured.broken_rows:
        message = f"{measured.broken_rows} {metric} samples are not finite numbers"
        return Reason("not-finite", message)
    if measured.value is None and measured.given_value is None:
        return Reason("no-data", f"no {metric} samples of this version in the window")
    return None


def _compare(
    measured: Measured,
    policy: CheckPolicy,
    operator: Operator,
    value: float,
    count: int | None,
    possible: tuple[float, float],
) -> CheckResult:
    shown = f"{policy.check} {value:.6g} (n={count if count is not None else 'not given'})"
    if count is not None and count < policy.min_samples:
        message = f"{shown}: fewer than {policy.min_samples} samples"
        health, reason = Health.INCONCLUSIVE, Reason("too-few-samples", message)
    elif not (value < policy.limit if operator == "<" else value > policy.limit):
        message = f"{shown} is not {operator} {policy.limit:g}"
        health, reason = Health.UNHEALTHY, Reason("limit-breached", message)
    elif not possible[0] <= value <= possible[1]:
        message = f"{shown} cannot be: it lies outside {possible[0]:g} to {possible[1]:g}"
        health, reason = Health.INCONCLUSIVE, Reason("impossible-value", message)
    else:
        message = f"{shown} is {operator} {policy.limit:g}"
        health, reason = Health.HEALTHY, Reason("within-limit", message)
    return _result(measured, policy, operator, health, reason, value, count)


def _result(
    measured: Measured,
    policy: CheckPolicy,
    operator: Operator | None,
    health: Health,
    reason: Reason,
    value: float | None = None,
    count: int | None = None,
) -> CheckResult:
    return CheckResult(
        check=policy.check,
        health=health,
        reason=reason,
        value=value,
        operator=operator,
        limit=policy.limit,
        sample_count=measured.sample_count if value is None else count,
        min_samples=policy.min_samples,
    )
