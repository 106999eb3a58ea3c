"""The bare threshold: what was measured stands against the limit, as the user wrote it."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.errors import Reason
from tasks.rollouts.guard.model import Question, inconclusive, missing
from tasks.rollouts.health.measured import Health, Judgement, Reading

NAME = "threshold"


def judge(reading: Reading, question: Question) -> Judgement:
    """Compare what was measured with the limit; what is missing or broken is inconclusive.

    Counted samples and values as given are judged apart: one unhealthy answer is enough, and only
    two healthy ones (where both exist) are healthy.
    """
    measured = reading.canary
    parts = []
    if measured.given_value is not None:
        parts.append(compare(question, measured.given_value, measured.given_count))
    if measured.value is not None:
        parts.append(compare(question, measured.value, measured.sample_count))
    unknown = missing(measured, question.policy.name)
    if unknown is not None:
        parts.append(inconclusive(NAME, unknown))
    return worst(parts)


def worst(judgements: list[Judgement]) -> Judgement:
    """The first judgement that has the merged verdict."""
    health = merge(judgement.health for judgement in judgements)
    return next(judgement for judgement in judgements if judgement.health is health)


def merge(verdicts: Iterable[Health]) -> Health:
    """Any unhealthy verdict wins, then any inconclusive one; none at all is inconclusive."""
    found = set(verdicts)
    if Health.UNHEALTHY in found:
        return Health.UNHEALTHY
    return Health.HEALTHY if found == {Health.HEALTHY} else Health.INCONCLUSIVE


def compare(question: Question, value: float, count: int | None) -> Judgement:
    """Hold one value against the limit; ``count`` says on how many observations it rests.

    What cannot be is not known, on whichever side of the limit it lies.
    """
    policy = question.policy
    shown = f"{policy.name} {value:.6g} (n={count if count is not None else 'not given'})"
    must = f"{question.operator} {policy.limit:g}"
    if count is not None and count < policy.min_samples:
        message = f"{shown}: fewer than {policy.min_samples} samples"
        return inconclusive(NAME, Reason("too-few-samples", message))
    if not question.is_possible(value):
        quantity = question.quantity
        message = f"{shown} cannot be: it lies outside {quantity.lowest:g} to {quantity.highest:g}"
        return inconclusive(NAME, Reason("impossible-value", message))
    if not question.passes(value):
        reason = Reason("limit-breached", f"{shown} is not {must}")
        return Judgement(guard=NAME, health=Health.UNHEALTHY, reason=reason)
    reason = Reason("within-limit", f"{shown} is {must}")
    return Judgement(guard=NAME, health=Health.HEALTHY, reason=reason)
