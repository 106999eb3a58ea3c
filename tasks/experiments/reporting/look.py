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
from tasks.errors import Reason
from tasks.experiments.quality.model import QualityCheck


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ArmFigures(_Stored):
    """One arm of one metric; differences, lift and p-values are against the control."""

    name: str
    assigned: int | None = None
    n: int | None = None
    mean: float | None = None
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
    outcome: str = "open"


class MetricFigures(_Stored):
    """One metric of a look; one that failed has no arms and says why."""

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
    """Read a row of `headway.decision`; ``primary`` and ``kind`` are of the deciding metric."""
    verdict = Verdict(
        verdict=row.verdict,
        reasons=tuple(Reason(each["code"], each["message"]) for each in row.reasons or ()),
        details=row.details or {},
    )
    found = look_of(verdict, primary, kind)
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
        nearest=_words(details.get("nearest")),
        futility=_words(details.get("futility")),
        checks=tuple(_checks(details.get("checks") or ())),
        metrics=tuple(_metrics(details, primary, kind)),
        result=details.get("result"),
    )


def _metrics(details: dict[str, Any], primary: str, kind: str) -> Iterable[MetricFigures]:
    """Each metric by itself: one whose figures cannot be read must not hide the others."""
    told = [_metric(each) for each in details.get("metrics") or ()]
    if not any(each.role == "primary" for each in told):
        own = {name: details.get(name) for name in ("control", "arms")}
        yield _metric({"name": primary, "role": "primary", "kind": kind, **own})
    yield from told


def _metric(told: dict[str, Any]) -> MetricFigures:
    failure = told.get("failure") or told.get("error")
    if failure is None and told.get("outcome") in {"failed", "unknown"}:
        failure = told.get("message") or "it could not be computed"
    try:
        return MetricFigures.model_validate(told | {"failure": failure})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return MetricFigures(
            name=str(told.get("name", "unnamed")),
            role=str(told.get("role", "secondary")),
            outcome="failed",
            failure=f"its stored figures cannot be read: {where}: {first['msg']}",
        )


def _checks(told: Iterable[dict[str, Any]]) -> Iterable[QualityCheck]:
    for each in told:
        fields = {name: each[name] for name in QualityCheck.model_fields if name in each}
        try:
            yield QualityCheck.model_validate(fields)
        except ValidationError:
            name = str(each.get("name", "unnamed"))
            message = "what was stored of it cannot be read"
            yield QualityCheck(name=name, outcome="unknown", message=message)


def _words(told: Any) -> str | None:
    """What is nearest, or futile: stored as a sentence, or with figures beside it."""
    if isinstance(told, dict):
        if told.get("is_futile") is False:
            return None
        told = told.get("message") or told.get("condition") or told.get("code")
    return str(told) if told and told is not True else None
