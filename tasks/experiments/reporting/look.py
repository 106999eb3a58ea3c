"""The last look at an experiment, read from the decision that was stored: the one verdict.

Whatever shows an experiment reads this. Nothing is judged again here, so that a report, a notice
and the tables can never say different things. What an older rule did not store yet is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.decisions import Verdict
from tasks.errors import InputError, Reason
from tasks.experiments.quality.model import QualityCheck


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ArmFigures(_Stored):
    """One arm of one metric; differences, lift and p-values are against the control."""

    name: str
    assigned: int | None = None
    n: int | None = None
    mean: float | None = None
    value: float | None = None  # what is compared, where it is not the mean: a ratio, a quantile
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    sequential_lower: float | None = None
    sequential_upper: float | None = None
    lift: float | None = None
    lift_lower: float | None = None
    lift_upper: float | None = None
    corrected_lift: float | None = None
    effect_size: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    z: float | None = None
    bound: float | None = None
    tolerated: float | None = None  # of a guardrail: how much worse is still within its margin
    outcome: str = "open"
    problem: str | None = None  # why this arm could not be compared


class MetricFigures(_Stored):
    """One metric of a look; one that failed says why, and has the arms that did not."""

    name: str
    role: str = "primary"
    kind: str = ""
    outcome: str | None = None
    failure: str | None = None
    control: ArmFigures | None = None
    arms: tuple[ArmFigures, ...] = ()


class StoredLook(_Stored):
    """What was decided at one look."""

    decision_id: int | None
    decided_at: datetime | None
    rule_version: int | None
    verdict: str
    winner: str | None
    reasons: tuple[Reason, ...]
    look_number: int | None
    information_fraction: float | None
    is_usable: bool | None
    method: str
    policy: str | None
    note: str | None  # what a reader must know of the method
    ending: str | None  # what ended the experiment with this look
    nearest: str | None
    futility: str | None
    checks: tuple[QualityCheck, ...]
    metrics: tuple[MetricFigures, ...]
    result: dict[str, Any] | None

    @property
    def sentence(self) -> str:
        """The verdict in one sentence: the first reason."""
        return self.reasons[0].message if self.reasons else self.verdict

    @property
    def closed_checks(self) -> tuple[QualityCheck, ...]:
        """The checks that failed or could not tell."""
        return tuple(check for check in self.checks if check.outcome != "passed")

    @property
    def primary(self) -> MetricFigures | None:
        """The metric that decides."""
        return next((each for each in self.metrics if each.role == "primary"), None)


def stored_look(row: Any, primary: str, kind: str) -> StoredLook:
    """Read a row of `headway.decision`; ``primary`` and ``kind`` are of the deciding metric.

    Raises InputError where it holds what no rule writes.
    """
    verdict = Verdict(
        verdict=row.verdict,
        reasons=tuple(Reason(each["code"], each["message"]) for each in row.reasons or ()),
        details=row.details or {},
    )
    try:
        found = look_of(verdict, primary, kind)
    except ValidationError as error:
        raise InputError(f"decision {row.decision_id} cannot be read: {_first(error)}") from None
    known = {"decided_at": row.decided_at, "rule_version": row.rule_version}
    return found.model_copy(update=known | {"decision_id": row.decision_id})


def look_of(verdict: Verdict, primary: str, kind: str) -> StoredLook:
    """Read a verdict as it was just decided, or as it is stored."""
    details = verdict.details
    return StoredLook(
        decision_id=None,
        decided_at=None,
        rule_version=None,
        verdict=verdict.verdict,
        winner=details.get("winner"),
        reasons=verdict.reasons,
        look_number=details.get("look_number"),
        information_fraction=details.get("information_fraction"),
        is_usable=details.get("is_usable"),
        method=details.get("method") or "group_sequential",
        policy=details.get("policy"),
        note=details.get("note") or None,
        ending=details.get("ending"),
        nearest=_nearest(details.get("nearest")),
        futility=_words(details.get("futility")),
        checks=tuple(_checks(details.get("checks") or ())),
        metrics=tuple(_metrics(details, primary, kind)),
        result=details.get("result"),
    )


def _metrics(details: dict[str, Any], primary: str, kind: str) -> Iterable[MetricFigures]:
    """Each metric by itself: one whose figures cannot be read must not hide the others."""
    own = {name: details.get(name) or () for name in ("control", "arms")}
    told = list(details.get("metrics") or ())
    if not any(each.get("role") == "primary" for each in told):
        told.insert(0, {"name": primary, "role": "primary", "kind": kind, **own})
    for each in told:
        is_primary = each.get("role") == "primary"
        yield _metric(_with_bounds(each, own["arms"]) if is_primary else each)


def _with_bounds(told: dict[str, Any], arms: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Only the arms of the decision itself have bounds, adjusted p-values and corrected lifts."""
    decided = {arm.get("name"): arm for arm in arms}
    rows = [decided.get(arm.get("name"), {}) | arm for arm in told.get("arms") or ()]
    return told | {"arms": rows}


def _metric(told: dict[str, Any]) -> MetricFigures:
    failure = told.get("problem") or told.get("failure")
    if failure is None and told.get("outcome") == "failed":
        failure = "it could not be computed"
    try:
        fields = {"arms": told.get("arms") or (), "control": told.get("control") or None}
        return MetricFigures.model_validate(told | fields | {"failure": failure or None})
    except ValidationError as error:
        return MetricFigures(
            name=str(told.get("name", "unnamed")),
            role=str(told.get("role", "secondary")),
            outcome="failed",
            failure=f"its stored figures cannot be read: {_first(error)}",
        )


def _first(error: ValidationError) -> str:
    """What is wrong, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _checks(told: Iterable[dict[str, Any]]) -> Iterable[QualityCheck]:
    for each in told:
        fields = {name: each[name] for name in QualityCheck.model_fields if name in each}
        try:
            yield QualityCheck.model_validate(fields)
        except ValidationError:
            name = str(each.get("name", "unnamed"))
            message = "what was stored of it cannot be read"
            yield QualityCheck(name=name, outcome="unknown", message=message)


def _nearest(told: Any) -> str | None:
    """The condition that is missing, with the figure that has to grow."""
    if not isinstance(told, dict):
        return str(told) if told else None
    condition = told.get("condition") or told.get("message")
    is_about_bound = condition == "not-significant"  # the figures stand beside any condition
    if not is_about_bound or told.get("bound") is None or told.get("z") is None:
        return condition
    return f"{condition}: {told['arm']} has z {told['z']:+.2f} of ±{told['bound']:.2f}"


def _words(told: Any) -> str | None:
    """What is futile: stored with the figures beside it."""
    if isinstance(told, dict):
        return told.get("message") if told.get("is_futile", True) else None
    return str(told) if told else None
