"""Gather what the checks look at, for many experiments by one statement, and judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import explain, load_queries
from tasks.experiments.quality import checks as _own_checks  # noqa: F401 - registers them
from tasks.experiments.quality import facts
from tasks.experiments.quality.facts import ExperimentFacts, NotGathered
from tasks.experiments.quality.model import QualityCheck, SuiteFindings
from tasks.experiments.quality.registry import quality_checks, run_check
from tasks.retries import is_transient

QUERIES = load_queries(__package__)
_HEAD = "experiment"
_PARTS: Mapping[str, type[BaseModel]] = {
    "variants": facts.Arm,
    "shares": facts.Share,
    "metrics": facts.Metric,
    "aggregates": facts.Aggregate,
    "counts": facts.Count,
    "epoch_counts": facts.EpochCounts,
    "level_counts": facts.LevelCount,
    "arrivals": facts.Arrival,
    "sampled": facts.Sampled,
    "rejected": facts.Units,
    "overridden": facts.Units,
    "shared": facts.SharedUnits,
    "calibrations": facts.Calibrated,
}
_Rows = dict[str, dict[UUID, list[Any]] | NotGathered]


def gather(
    tx: Connection, experiment_ids: Sequence[UUID], suites: SuiteFindings | None = None
) -> dict[UUID, tuple[QualityCheck, ...]]:
    """Run every registered check on each experiment.

    What could not be read makes the checks unknown that need it, and no others. Passing troubles
    (a lost connection, a timeout) are raised, so that the step is tried again.

    Args:
        tx: the transaction to read in.
        experiment_ids: as many as wanted; they take one statement.
        suites: what `suites.run_suites` found; without it the check `suite` is unknown.
    """
    gathered = gather_facts(tx, experiment_ids, suites)
    return {experiment_id: judge(found) for experiment_id, found in gathered.items()}


def judge(found: ExperimentFacts | NotGathered) -> tuple[QualityCheck, ...]:
    """Run every registered check on the facts, by name."""
    if isinstance(found, NotGathered):
        return (QualityCheck(name="facts", outcome="unknown", message=found.reason),)
    return tuple(run_check(name, found) for name in quality_checks.names())


def gather_facts(
    tx: Connection, experiment_ids: Sequence[UUID], suites: SuiteFindings | None = None
) -> dict[UUID, ExperimentFacts | NotGathered]:
    """Read the facts of each experiment; NotGathered where it cannot even be found."""
    asked = {"experiment_ids": [str(experiment_id) for experiment_id in experiment_ids]}
    parts = _read(tx, asked)
    return {
        experiment_id: _facts_of(experiment_id, parts, suites) for experiment_id in experiment_ids
    }


def _read(tx: Connection, asked: dict[str, Any]) -> _Rows:
    """Each part's rows by experiment: all parts at once, or one by one where one cannot be read."""
    names = (_HEAD, *_PARTS)
    whole = _try(tx, names, asked)
    if not isinstance(whole, NotGathered):
        return dict(whole)
    found: _Rows = {}
    for name in names:
        part = _try(tx, (name,), asked)
        found[name] = part if isinstance(part, NotGathered) else part[name]
    return found


def _try(
    tx: Connection, names: Sequence[str], asked: dict[str, Any]
) -> dict[str, dict[UUID, list[Any]]] | NotGathered:
    try:
        with tx.begin_nested():
            rows = tx.execute(_together(names), asked).all()
    except DBAPIError as error:
        if is_transient(error):
            raise
        return NotGathered(reason=f"{', '.join(names)} could not be read: {explain(error)}")
    found: dict[str, dict[UUID, list[Any]]] = {name: {} for name in names}
    for row in rows:
        found[row.part].setdefault(row.experiment_id, []).append(row.facts)
    return found


def _together(names: Sequence[str]) -> sa.TextClause:
    # Names and texts are those of our own file.
    return sa.text(
        " UNION ALL ".join(
            f"(SELECT '{name}' AS part, q.experiment_id, to_jsonb(q) AS facts "  # noqa: S608
            f"FROM ({QUERIES[name].text}) AS q)"
            for name in names
        )
    )


def _facts_of(
    experiment_id: UUID, parts: _Rows, suites: SuiteFindings | None
) -> ExperimentFacts | NotGathered:
    heads = parts[_HEAD]
    if isinstance(heads, NotGathered):
        return heads
    if experiment_id not in heads:
        return NotGathered(reason=f"experiment {experiment_id} does not exist")
    found = {name: _part(experiment_id, name, model, parts) for name, model in _PARTS.items()}
    given = {} if suites is None else {"suites": suites}
    return ExperimentFacts(**heads[experiment_id][0], **found, **given)


def _part(
    experiment_id: UUID, name: str, model: type[BaseModel], parts: _Rows
) -> tuple[BaseModel, ...] | NotGathered:
    rows = parts[name]
    if isinstance(rows, NotGathered):
        return rows
    try:
        return _several(model).validate_python(rows.get(experiment_id, []))
    except ValidationError as error:
        return NotGathered(reason=f"{name} make no sense: {error.error_count()} problems")


@cache
def _several(model: type[BaseModel]) -> TypeAdapter[tuple[BaseModel, ...]]:
    return TypeAdapter(tuple[model, ...])  # type: ignore[valid-type]
