"""Gather what looks at many experiments need, by a few statements for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.analysis.epochs import Epochs, pair_of, read_epochs
from tasks.experiments.analysis.quantiles import with_quantiles
from tasks.experiments.decision.evidence import (
    Arm,
    Epoch,
    Measured,
    Pair,
    Plan,
    Terms,
    WinnerEvidence,
)
from tasks.experiments.quality import gathering as quality
from tasks.experiments.quality.model import QualityCheck, SuiteFindings

QUERIES = load_queries(__package__)
Rows = Sequence[Any]
_MOVED_QUANTILE = "a quantile cannot be compared within epochs, and the split has moved"
_NOT_FOLDED = "its statistics have not been worked out yet"
_COUNTED = ("assigned", "n", "mean", "m2", "events", "converted")
_NOTHING = dict.fromkeys(_COUNTED, 0)


@dataclass(frozen=True, slots=True)
class Observed:
    """One experiment as it was found, and the evidence that the rule is given."""

    plan: Any  # its row
    arms: Rows  # of all metrics, those of the primary one first
    last_hash: str | None  # inputs of its last look
    evidence: WinnerEvidence

    @property
    def primary(self) -> list[Any]:
        """The rows of the primary metric, the control first."""
        return [row for row in self.arms if row.role == "primary"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The experiments to look at, and those that are no longer active, with their rows."""

    observed: tuple[Observed, ...]
    inactive: tuple[Any, ...]


def observe(tx: Connection, experiment_ids: Sequence[str], suites: SuiteFindings | None) -> Batch:
    """Lock the experiments and read all there is to know of them.

    Raises NotFound for one that is not there, InputError for one without a primary metric or a
    control.
    """
    asked = {"experiment_ids": list(experiment_ids)}
    plans = {row.id: row for row in tx.execute(QUERIES["lock_experiments"], asked)}
    missing = [each for each in experiment_ids if UUID(each) not in plans]
    if missing:
        raise NotFound(f"experiment {missing[0]} does not exist")
    active = [row for row in plans.values() if row.status == "active"]
    asked = {"experiment_ids": [str(row.id) for row in active]}
    rows: Rows = tx.execute(QUERIES["measured_arms"], asked).all() if active else ()
    rows = with_quantiles(tx, rows)
    arms = {key: list(group) for key, group in groupby(rows, lambda row: row.experiment_id)}
    looks = {row.experiment_id: row for row in tx.execute(QUERIES["earlier_looks"], asked)}
    epochs = read_epochs(tx, asked["experiment_ids"]) if active else {}
    checks = quality.gather(tx, [row.id for row in active], suites) if active else {}
    observed = (
        _observed(plan, arms.get(plan.id, []), epochs, looks.get(plan.id), checks.get(plan.id, ()))
        for plan in active
    )
    inactive = (row for row in plans.values() if row.status != "active")
    return Batch(tuple(observed), tuple(inactive))


def measured_by(tx: Connection, names: Mapping[UUID, str], metric_id: UUID) -> dict[UUID, Measured]:
    """One metric of the experiments that measure it, whatever their state; names by id."""
    ids = [str(each) for each in names]
    rows = tx.execute(QUERIES["measured_arms"], {"experiment_ids": ids}).all()
    rows = with_quantiles(tx, [row for row in rows if row.metric_id == metric_id])
    epochs = read_epochs(tx, ids)
    return {
        key: measured_of(names[key], list(arms), epochs.get((key, metric_id), ()))
        for key, arms in groupby(rows, lambda row: row.experiment_id)
    }


def _observed(
    plan: Any, arms: Rows, epochs: Epochs, history: Any, checks: tuple[QualityCheck, ...]
) -> Observed:
    by_metric = {key: list(group) for key, group in groupby(arms, lambda row: row.metric_id)}
    measured = [
        measured_of(plan.name, rows, epochs.get((plan.id, metric_id), ()))
        for metric_id, rows in by_metric.items()
    ]
    primary = next((each for each in measured if each.role == "primary"), None)
    if primary is None:
        raise InputError(f"experiment {plan.name!r} has no primary metric, or no variants")
    main = next(row for row in arms if row.role == "primary")
    evidence = WinnerEvidence(
        experiment=plan.name,
        experiment_id=str(plan.id),
        plan=_plan(plan, main),
        primary=primary,
        secondaries=tuple(each for each in measured if each.role == "secondary"),
        guardrails=tuple(each for each in measured if each.role == "guardrail"),
        checks=checks,
        **({} if history is None else _history(history)),
    )
    return Observed(plan, arms, None if history is None else history.last_hash, evidence)


def _history(row: Any) -> dict[str, Any]:
    is_tested = bool(row.looks)
    return {
        "look_number": row.last_number + 1,
        "looks": row.looks,
        "earlier_terms": row.terms if is_tested else None,
        "earlier_p_values": dict(row.p_values or ()),
    }


def _plan(plan: Any, primary: Any) -> Plan:
    terms = Terms(
        alpha=primary.alpha,
        planned_units=primary.planned_sample_size,
        method=plan.method,
        method_options=plan.method_options,
        reserved_alpha=plan.reserved_alpha,
    )
    taken = ("policy", "minimum_weeks", "minimum_effect", "power", "tie_break_metric")
    return Plan(
        terms=terms,
        minimum_per_arm=plan.minimum_sample_size,
        is_stopped_at_winner=primary.is_stopped_at_winner,
        is_open_ended=plan.is_holdout,
        started_at=plan.started_at,
        ends_at=plan.ends_at,
        now=plan.now,
        **{name: getattr(plan, name) for name in taken},
    )


def measured_of(experiment: str, rows: Rows, epochs: tuple[Epoch, ...]) -> Measured:
    """One metric as evidence, from its rows of `measured_arms`, the control first.

    Raises InputError without a control.
    """
    first = rows[0]
    if not first.is_control:
        raise InputError(f"experiment {experiment!r} has no control variant")
    control, *treatments = (_arm(row) for row in rows)
    return Measured(
        name=first.metric,
        role=first.role,
        kind=first.kind,
        is_higher_better=first.is_higher_better,
        alpha=first.alpha,
        margin=first.margin,
        control=control,
        treatments=tuple(treatments),
        epochs=() if first.quantile is not None else epochs,
        problem=_problem(rows, epochs),
    )


def _problem(rows: Rows, epochs: tuple[Epoch, ...]) -> str:
    """Why there are no figures that may be compared; empty where there are."""
    if any(row.n is None for row in rows):
        return _NOT_FOLDED
    return _MOVED_QUANTILE if rows[0].quantile is not None and len(epochs) > 1 else ""


def _arm(row: Any) -> Arm:
    values: Mapping[str, Any] = (
        _NOTHING if row.n is None else {name: getattr(row, name) for name in _COUNTED}
    )
    if row.is_uncounted:
        values = {**values, "events": None, "converted": None}
    return Arm(
        name=row.name,
        weight=row.weight,
        denominator=_pair(row, "denominator") if row.has_denominator else None,
        covariate=_pair(row, "covariate") if row.has_covariate else None,
        **values,
    )


def _pair(row: Any, name: str) -> Pair | None:
    return None if row.n is None else pair_of(row, name)
