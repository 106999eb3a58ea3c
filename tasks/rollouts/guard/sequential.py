"""The guard that asks for evidence: looked at every hour, or every second, it is rarely wrong.

Harm is what the version does and its control does not. Evidence adds up over a stage, in which the
share of the traffic is constant, and starts anew with the next one.
"""

from __future__ import annotations

from tasks.errors import Reason
from tasks.rollouts.guard import means, rates, threshold
from tasks.rollouts.guard.model import Findings, Question, inconclusive, missing
from tasks.rollouts.health.measured import Health, Judgement, Measured, Reading

NAME = "sequential"


def judge(reading: Reading, question: Question) -> Judgement:
    """Roll back on evidence of harm, hold on evidence against both, else let it go on.

    Unhealthy without ``is_shared`` is evidence of harm. Healthy is ``min_samples`` without it;
    where the question is strict, evidence of health. A value given without a count is no evidence
    either way, so it is compared as it was given, as is a percentile.
    """
    measured = reading.canary
    if question.quantity.kind == "value":
        return _as_given(threshold.judge(reading, question))
    parts = []
    if measured.given_value is not None and measured.given_count is None:
        parts.append(_as_given(threshold.compare(question, measured.given_value, None)))
    if measured.sample_count > 0 or measured.given_count is not None:
        judge_counted = _judge_rate if question.quantity.kind == "rate" else _judge_mean
        parts.append(judge_counted(reading, question))
    unknown = missing(measured, question.policy.name)
    if unknown is not None:
        parts.append(inconclusive(NAME, unknown))
    return threshold.worst(parts)


def _judge_rate(reading: Reading, question: Question) -> Judgement:
    canary = rates.counts(reading.canary, question)
    if canary is None and not _count(reading.canary):
        message = f"{question.policy.name} (n=0): no samples"
        return inconclusive(NAME, Reason("too-few-samples", message))
    if canary is None:
        return inconclusive(NAME, _impossible(reading.canary, question))
    shown = _shown(question, canary.bad / canary.count, canary.count)
    return _conclude(rates.find(canary, reading, question), question, canary.count, shown)


def _judge_mean(reading: Reading, question: Question) -> Judgement:
    measured, name = reading.canary, question.policy.name
    count = _count(measured)
    least = max(question.policy.min_samples, means.LEAST_COUNT)
    if count < least:
        reason = Reason("too-few-samples", f"{name} (n={count}): fewer than {least} samples")
        return inconclusive(NAME, reason)
    canary = means.sample(measured)
    if canary is None or measured.given_count:
        message = (
            f"{name} (n={count}): the sums of squares are missing, so nobody can tell chance from "
            "harm; record square_sum with each sample or use the threshold guard"
        )
        return inconclusive(NAME, Reason("no-deviation", message))
    if not question.is_possible(canary.mean):
        return inconclusive(NAME, _impossible(measured, question))
    shown = f"{name} {canary.mean:.6g} (n={canary.count})"
    return _conclude(means.find(canary, reading, question), question, canary.count, shown)


def _count(measured: Measured) -> int:
    return measured.sample_count + (measured.given_count or 0)


def _conclude(found: Findings, question: Question, count: int, shown: str) -> Judgement:
    policy = question.policy
    must = f"{question.operator} {policy.limit:g}"
    is_shared = found.harm is None and found.shared is not None
    if found.harm is not None:
        health, reason = Health.UNHEALTHY, Reason("harm", f"{shown}, to be {must}: {found.harm}")
    elif found.shared is not None:
        message = f"{shown}, to be {must}; the version is not to blame: {found.shared}"
        health, reason = Health.UNHEALTHY, Reason("shared-trouble", message)
    elif count < policy.min_samples:
        message = f"{shown}: fewer than {policy.min_samples} samples, and no evidence of harm"
        health, reason = Health.INCONCLUSIVE, Reason("too-few-samples", message)
    elif question.is_strict and not found.is_healthy:
        message = f"{shown}: no evidence of harm, but none yet that it is {must}"
        health, reason = Health.INCONCLUSIVE, Reason("no-evidence-of-health", message)
    elif found.is_healthy:
        health, reason = Health.HEALTHY, Reason("within-limit", f"{shown} is {must}")
    else:
        health, reason = Health.HEALTHY, Reason("no-harm", f"{shown}: no evidence of harm")
    return Judgement(
        guard=NAME, health=health, reason=reason, evidence=found.evidence, is_shared=is_shared
    )


def _shown(question: Question, bad_share: float, count: int) -> str:
    value = bad_share if question.is_low_good else 1 - bad_share
    return f"{question.policy.name} {value:.6g} (n={count})"


def _impossible(measured: Measured, question: Question) -> Reason:
    quantity = question.quantity
    told = [each for each in (measured.value, measured.given_value) if each is not None]
    value = next((each for each in told if not question.is_possible(each)), told[0])
    message = (
        f"{question.policy.name} {value} (n={_count(measured)}) cannot be: it lies outside "
        f"{quantity.lowest:g} to {quantity.highest:g}"
    )
    return Reason("impossible-value", message)


def _as_given(judgement: Judgement) -> Judgement:
    return judgement.model_copy(update={"guard": NAME})
