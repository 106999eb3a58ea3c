"""Does a metric keep its promise on one's own units?

It promises that its test finds a difference in at most alpha of the experiments without one, that
the acting method does so over all its looks, that its intervals contain the truth about as often as
they say, and that the check of the split seldom alarms without a cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.decisions import Verdict, rule
from tasks.errors import Reason

ERRORS = 3.0
"""So many standard errors beyond its promise a rate is not by chance: once in 740 at one end."""

LEAST_UNLIKE = 30
"""Units with another value than the commonest, in the smaller arm: below, no limit law holds."""

LEAST_DRAWS = 1000
SRM_PROMISE = 0.005
"""Alarms of all tests of the split together, over the looks at one experiment."""

_SLACK = 0.2  # of alpha: at 0.05 a coverage between 0.94 and 0.96 is what the interval says
_DIGITS = 10
Count = Annotated[int, Field(ge=0)]


class CalibrationEvidence(BaseModel):
    """What came of drawing the arms of a metric's units anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    metric: str
    role: str
    kind: str
    method: str
    alpha: Annotated[float, Field(gt=0, lt=1)]
    units: Count = 0  # whose arms were drawn
    unlike: Annotated[float, Field(ge=0)] = 0.0  # of them in the smaller arm, see LEAST_UNLIKE
    share: float | None = None  # of the units that the treatment gets
    draws: Count = 0
    seed: Count = 0
    is_redrawn: bool = False  # the first draws looked broken; these are others
    tested: Count = 0  # draws in which the single test had a p-value
    false_positives: Count = 0
    intervals: Count = 0  # draws in which the difference had an interval
    covered: Count = 0
    series: Count = 0  # draws that were looked at several times
    looks: Count = 0
    method_alpha: float | None = None  # what the method promises over all looks; None: nothing
    method_found: Count = 0
    srm_alarms: Count = 0  # of the series
    problem: str = ""  # why nothing could be drawn


@rule("calibration", version=1)
def judge_calibration(evidence: CalibrationEvidence) -> Verdict:
    """Say "kept", "broken" with every promise that is, or "unknown"."""
    missing = _missing(evidence)
    if missing is not None:
        return Verdict(verdict="unknown", reasons=(missing,), details=_figures(evidence))
    broken = tuple(_broken(evidence))
    return Verdict(
        verdict="broken" if broken else "kept",
        reasons=broken or (Reason("kept", _kept(evidence)),),
        details=_figures(evidence),
    )


def rate(count: int, of: int) -> float | None:
    """A share; None of nothing."""
    return count / of if of else None


def error_of(share: float, of: int) -> float:
    """Standard error of a share of so many independent draws."""
    return sqrt(share * (1 - share) / of)


def _missing(evidence: CalibrationEvidence) -> Reason | None:
    if evidence.problem:
        return Reason("not-drawn", evidence.problem)
    if evidence.unlike < LEAST_UNLIKE:
        message = (
            f"{evidence.unlike:.0f} units of the smaller arm would have another value than the "
            f"commonest one; {LEAST_UNLIKE} are needed before any test can be relied on"
        )
        return Reason("too-few-units", message)
    if evidence.draws < LEAST_DRAWS:
        message = f"{evidence.draws} draws tell little; ask for {LEAST_DRAWS} at least"
        return Reason("too-few-draws", message)
    if not evidence.tested or not evidence.intervals:
        return Reason("undefined", "the test is undefined in every draw: the values do not vary")
    return None


def _broken(evidence: CalibrationEvidence) -> Iterator[Reason]:
    alpha, found = evidence.alpha, evidence.false_positives / evidence.draws
    if _is_above(found, alpha, evidence.draws):
        yield Reason(
            "false-positives",
            f"the test finds a difference in {found:.2%} of {evidence.draws} draws without one; "
            f"{alpha:.2%} is its promise",
        )
    yield from _interval(evidence)
    if evidence.method_alpha is not None and evidence.series:
        found = evidence.method_found / evidence.series
        if _is_above(found, evidence.method_alpha, evidence.series):
            yield Reason(
                "method-error",
                f"{evidence.method} finds a difference in {found:.2%} of {evidence.series} "
                f"experiments without one, over {evidence.looks} looks each; "
                f"{evidence.method_alpha:.2%} is its promise",
            )
    if evidence.series:
        found = evidence.srm_alarms / evidence.series
        if _is_above(found, SRM_PROMISE, evidence.series):
            yield Reason(
                "srm-alarms",
                f"the tests of the split alarm in {found:.2%} of {evidence.series} sound "
                f"experiments; {SRM_PROMISE:.2%} is their promise",
            )


def _interval(evidence: CalibrationEvidence) -> Iterator[Reason]:
    coverage, of = evidence.covered / evidence.intervals, evidence.intervals
    lowest, highest = 1 - evidence.alpha * (1 + _SLACK), 1 - evidence.alpha * (1 - _SLACK)
    level = f"the {1 - evidence.alpha:.0%} interval contains the truth in {coverage:.2%} of"
    if _is_above(1 - coverage, 1 - lowest, of):
        yield Reason("coverage-low", f"{level} {of} draws; {lowest:.2%} would do")
    if _is_above(coverage, highest, of):
        message = f"{level} {of} draws, more than {highest:.2%}: it says less than the data do"
        yield Reason("coverage-high", message)


def _is_above(found: float, promise: float, of: int) -> bool:
    return found > promise + ERRORS * error_of(promise, of)


def _kept(evidence: CalibrationEvidence) -> str:
    return (
        f"{evidence.false_positives / evidence.draws:.2%} of {evidence.draws} draws without a "
        f"difference show one ({evidence.alpha:.2%} may), and "
        f"{evidence.covered / evidence.intervals:.2%} of the intervals contain the truth"
    )


def _figures(evidence: CalibrationEvidence) -> dict[str, Any]:
    rates = {
        "false_positive_rate": rate(evidence.false_positives, evidence.draws),
        "coverage": rate(evidence.covered, evidence.intervals),
        "method_rate": rate(evidence.method_found, evidence.series),
        "srm_alarm_rate": rate(evidence.srm_alarms, evidence.series),
    }
    of = dict(zip(rates, (evidence.draws, evidence.intervals, *[evidence.series] * 2), strict=True))
    figures: dict[str, float | None] = {}
    for name, share in rates.items():
        error = None if share is None else error_of(share, of[name])
        figures |= {name: _rounded(share), f"{name}_error": _rounded(error)}
    return figures


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
