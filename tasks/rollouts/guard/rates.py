"""Evidence in counts: is the share of bad ones above the limit, or above the control's?"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from sys import float_info

from tasks.rollouts.guard.mixtures import Split, log_e_above, log_e_below, log_e_worse
from tasks.rollouts.guard.model import Findings, Question, has_a_say
from tasks.rollouts.health.measured import Measured, Reading


@dataclass(frozen=True)
class Counts:
    """Bad ones among all: errors among requests, wrong answers among answers."""

    bad: float
    count: int


def counts(measured: Measured | None, question: Question) -> Counts | None:
    """What was counted, values given with their count too; None without any, or if it cannot be.

    Where high rates are good (accuracy), those that are not counted are the bad ones.
    """
    if measured is None or measured.source_error is not None:
        return None
    total, count = measured.value_sum, measured.sample_count
    if not 0 <= total <= count or not 0 <= (measured.given_value or 0.0) <= 1:
        return None
    if measured.given_value is not None and measured.given_count is not None:
        total += measured.given_value * measured.given_count
        count += measured.given_count
    if count == 0:
        return None
    return Counts(total if question.is_low_good else count - total, count)


def find(canary: Counts, reading: Reading, question: Question) -> Findings:
    """Weigh the version's counts against the limit, and against its control where that has a say.

    A rate is harmful if it is above the control's, also below the limit; without a control if it is
    above the limit. Above the limit with no evidence against the control, or above it together with
    the control, it is shared; but a version that is shown to heal what its control suffers is not
    held up.
    """
    limit = question.policy.limit if question.is_low_good else 1 - question.policy.limit
    above = log_e_above(canary.bad, canary.count, limit)
    below = log_e_below(canary.bad, canary.count, limit)
    enough = -log(question.alpha)
    evidence = {"log_e_above_limit": above, "log_e_below_limit": below, "log_e_needed": enough}
    control = counts(reading.control, question)
    if control is None or not has_a_say(control.count, canary.count):
        return Findings(
            harm=_in_words(above, enough, "it is beyond the limit") if above >= enough else None,
            shared=None,
            is_healthy=below >= enough,
            evidence=_finite(evidence),
        )
    worse = log_e_worse([Split(canary.bad, canary.count, control.bad, control.count)])
    both = canary.bad + control.bad, canary.count + control.count
    together = log_e_above(*both, limit)
    evidence |= {"log_e_worse_than_control": worse, "log_e_both_above_limit": together}
    shared_enough = -log(question.shared_alpha)
    shared = None
    if above >= enough:
        shared = f"{_in_words(above, enough, 'it is beyond the limit')}, none against its control"
    elif together >= shared_enough > below:
        shared = _in_words(together, shared_enough, "both it and its control are beyond the limit")
    rate = f"{control.bad / control.count:.4g}"
    against = f"more are bad than of its control ({rate} of {control.count})"
    return Findings(
        harm=_in_words(worse, enough, against) if worse >= enough else None,
        shared=shared,
        is_healthy=below >= enough,
        evidence=_finite(evidence),
    )


def _in_words(log_e: float, enough: float, what: str) -> str:
    return f"evidence that {what}: 10^{log_e / log(10):.1f}, of 10^{enough / log(10):.1f} needed"


def _finite(evidence: dict[str, float]) -> dict[str, float]:
    """Evidence without limit (a single one of what must not be at all) as the largest number."""
    return {name: min(value, float_info.max) for name, value in evidence.items()}
