"""Gather what a look at an experiment needs, and write down what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isclose
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Decided, Verdict
from tasks.errors import InputError
from tasks.experiments.analysis.results import Analysis, PastLook
from tasks.experiments.decision.evidence import Arm, Look, Quality, WinnerEvidence
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.metrics import arm_interval
from tasks.experiments.statistics.moments import SampleMean

QUERIES = load_queries(__package__)
_COMPARED = ("difference", "lower", "upper", "statistic", "p_value", "z", "bound", "alpha_spent")
Rows = Sequence[Any]


def skipped(plan: Any, message: str) -> Analysis:
    """Report that an experiment was not looked at."""
    return Analysis(experiment=plan.name, metric=plan.metric, is_skipped=True, message=message)


def observe(tx: Connection, plan: Any) -> tuple[Rows, Rows]:
    """Read each arm's sufficient statistics as of now, and the rows of every earlier look."""
    asked = {"experiment_id": plan.id, "metric_id": plan.metric_id}
    measured = {name: getattr(plan, name) for name in ("aggregation", "missing", "event_type")}
    arms = tx.execute(QUERIES["arm_moments"], asked | measured).all()
    if not arms or not arms[0].is_control:
        raise InputError(f"experiment {plan.name!r} has no control variant")
    return arms, tx.execute(QUERIES["earlier_looks"], asked).all()


def evidence_of(plan: Any, arms: Rows, earlier: Rows, quality: Quality) -> WinnerEvidence:
    """Put together all that the winner rule may know."""
    control, *treatments = (
        Arm(name=a.name, weight=a.weight, assigned=a.assigned, n=a.n, mean=a.mean, m2=a.m2)
        for a in arms
    )
    return WinnerEvidence(
        experiment=plan.name,
        metric=plan.metric,
        kind=plan.kind,
        is_higher_better=plan.is_higher_better,
        alpha=plan.alpha,
        planned_units=plan.planned_sample_size,
        minimum_per_arm=plan.minimum_sample_size,
        control=control,
        treatments=tuple(treatments),
        looks=tuple(_look(list(rows)) for _, rows in groupby(earlier, lambda r: r.look_number)),
        quality=quality,
    )


def is_nothing_new(evidence: WinnerEvidence, arms: Rows, earlier: Rows) -> bool:
    """Tell whether the data are those of the last look, and could not be decided better now."""
    if not evidence.looks:
        return False
    last = evidence.looks[-1]
    before = {row.name: row for row in earlier if row.look_number == last.number}
    if not all(arm.name in before and _is_same(arm, before[arm.name]) for arm in arms):
        return False
    # A look behind a closed gate tested nothing; the same data count once the gate is open.
    return last.is_usable or not decide_winner(evidence).details["is_usable"]


def record_look(tx: Connection, plan: Any, arms: Rows, decided: Decided) -> None:
    """Write the look, one row an arm; later looks are judged together with it."""
    details = decided.verdict.details
    compared = {row["name"]: row for row in details["arms"]}
    for arm in arms:
        found = compared.get(arm.name, {})
        row = {name: found.get(name) for name in _COMPARED} | {
            "experiment_id": plan.id,
            "metric_id": plan.metric_id,
            "variant_id": arm.id,
            "look_number": details["look_number"],
            "information_fraction": _fraction(plan, arms),
            "is_usable": details["is_usable"],
            "is_significant": found.get("is_significant", False),
            "decision_id": decided.id,
        }
        counted = {name: getattr(arm, name) for name in ("assigned", "events", "n", "mean", "m2")}
        tx.execute(QUERIES["record_look"], row | counted)


def fill_results(tx: Connection, plan: Any, arms: Rows, verdict: Verdict) -> bool:
    """Fill the result columns of arms and experiment; True if the experiment is over now.

    An arm's interval is that of its own value. `statistical_significance` is 1 minus the
    smallest p-value (the winner's, where there is one), adjusted for the looks and the arms: at
    least 1 - alpha exactly where an arm was significant at some look.
    """
    for arm in arms:
        lower, upper = arm_interval(plan.kind, SampleMean(arm.n, arm.mean, arm.m2), plan.alpha)
        row = {name: getattr(arm, name) for name in ("assigned", "converted", "total")}
        tx.execute(
            QUERIES["fill_variant"],
            row | {"variant_id": arm.id, "lower": lower, "upper": upper},
        )
    details = verdict.details
    winner, is_usable = details["winner"], details["is_usable"]
    is_complete = is_usable and _fraction(plan, arms) >= 1
    is_over = is_complete or (winner is not None and plan.is_stopped_at_winner)
    tx.execute(
        QUERIES["fill_experiment"],
        {
            "experiment_id": plan.id,
            "winner": winner,
            "significance": _significance(details) if is_usable else None,
            "is_over": is_over,
        },
    )
    return is_over


def past_looks(tx: Connection, plan: Any) -> tuple[PastLook, ...]:
    """Every look with its comparisons, for the report."""
    asked = {"experiment_id": plan.id, "metric_id": plan.metric_id}
    rows = tx.execute(QUERIES["earlier_looks"], asked).all()
    return tuple(
        PastLook(
            number=row.look_number,
            arm=row.name,
            **{name: getattr(row, name) for name in _SHOWN},
        )
        for row in rows
        if not row.is_control
    )


_SHOWN = ("fraction", "n", "difference", "statistic", "p_value", "bound", "is_significant")


def _look(rows: list[Any]) -> Look:
    return Look(
        number=rows[0].look_number,
        fraction=rows[0].fraction,
        is_usable=rows[0].is_usable,
        z={row.name: row.z for row in rows if not row.is_control},
        planned_units=rows[0].planned_units,
        alpha=rows[0].alpha,
    )


def _is_same(now: Any, before: Any) -> bool:
    if (now.assigned, now.events, now.n) != (before.assigned, before.events, before.n):
        return False
    # Sums of doubles depend on the order in which Postgres reads the rows.
    scale = max(abs(now.mean), (now.m2 / max(now.n, 1)) ** 0.5)
    return isclose(now.mean, before.mean, abs_tol=1e-9 * scale) and isclose(
        now.m2, before.m2, rel_tol=1e-9, abs_tol=1e-9 * scale * scale
    )


def _fraction(plan: Any, arms: Rows) -> float:
    return float(sum(arm.n for arm in arms) / plan.planned_sample_size)


def _significance(details: dict[str, Any]) -> float:
    p_values = [
        row["adjusted_p_value"]
        for row in details["arms"]
        if details["winner"] in {None, row["name"]}
    ]
    return 1 - min(p_values, default=1.0)
