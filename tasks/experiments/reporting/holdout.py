"""Read what a holdout shows, and what the experiments promised that were completed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.analysis.gathering import measured_by
from tasks.experiments.decision.comparing import compare_arm
from tasks.experiments.decision.evidence import Measured
from tasks.experiments.reporting.holdout_figures import Completed, figure, rolled_up
from tasks.experiments.reporting.holdout_page import AssignedBefore, HoldoutReport
from tasks.experiments.statistics.comparison import Comparison

QUERIES = load_queries(__package__, "holdout.sql")


def reported_holdouts(connection: Connection, names: Sequence[str]) -> list[str]:
    """Which of these experiments are holdouts that have begun, by name."""
    return list(connection.scalars(QUERIES["reported_holdouts"], {"names": list(names)}))


def read_holdout(connection: Connection, name: str) -> HoldoutReport:
    """Report one holdout, as last folded.

    Raises NotFound where nothing is called so, InputError for what is no holdout, has not started
    or has no metric.
    """
    found = _find(connection, name)
    since = {"since": found.started_at, "organization": found.organization}
    until = {"until": found.completed_at or found.now}
    rows = connection.execute(QUERIES["completed_since"], since | until).all()
    names = {each.id: each.name for each in (found, *rows)}
    measured = measured_by(connection, names, found.metric_id)
    own = measured.get(found.id)
    shown = _shown(own, found.alpha)
    asked = {"ids": [row.id for row in rows], "since": found.started_at, **until}
    launches = {row.id: row for row in connection.execute(QUERIES["launches"], asked)}
    completed = [_completed(row, measured.get(row.id), launches.get(row.id), found) for row in rows]
    before = connection.execute(QUERIES["assigned_before"], since).all()
    elsewhere = {"holdout_id": found.id} | since
    return HoldoutReport(
        holdout=name,
        status=found.status,
        organization=found.organization,
        started_at=found.started_at,
        ended_at=found.completed_at,
        as_of=found.now,
        metric=found.metric,
        kind=found.kind,
        is_higher_better=found.is_higher_better,
        alpha=found.alpha,
        held_out=own.control.assigned if own else 0,
        exposed=sum(arm.assigned for arm in own.treatments) if own else 0,
        measured=figure(shown),
        sums=rolled_up(completed, shown, found.alpha),
        assigned_before=tuple(
            AssignedBefore(experiment=row.experiment, units=row.units) for row in before
        ),
        held_out_elsewhere=connection.scalar(QUERIES["held_out_elsewhere"], elsewhere) or 0,
    )


def _find(connection: Connection, name: str) -> Any:
    found = connection.execute(QUERIES["holdout"], {"name": name}).first()
    if found is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    if not found.is_holdout:
        raise InputError(
            f"{name!r} is no holdout: its plan does not say is_holdout; "
            f"`headway experiment report {name}` reports an experiment"
        )
    if found.started_at is None or found.metric_id is None:
        missing = "has not started yet" if found.started_at is None else "has no primary metric"
        raise InputError(f"holdout {name!r} {missing}: there is nothing to report")
    return found


def _shown(own: Measured | None, alpha: float) -> Comparison:
    """Everybody else against those held out."""
    if own is None or own.problem or not own.treatments:
        return Comparison()
    return compare_arm(own, own.treatments[0], alpha).found


def _completed(row: Any, measured: Measured | None, launch: Any, holdout: Any) -> Completed:
    """One experiment; ``launch`` is what its winner reached, None where the control stays."""
    fields = {
        "experiment": row.name,
        "completed_at": row.completed_at,
        "has_won": launch is not None,
        "is_launched": launch is not None and launch.is_launched,
        "reach": launch.reach if launch else None,
        "reaches_held_out": launch is not None and launch.reaches_held_out,
    }
    if measured is None:
        problem = f"it does not measure {holdout.metric}"
        return Completed(**fields, arm=row.winner, problem=problem)
    arm = _told_arm(measured, row.winner if launch else None)
    fields |= {"arm": arm}
    problem = _why_not(row, arm) or measured.problem
    if problem or arm is None:
        return Completed(**fields, problem=problem)
    found = compare_arm(measured, measured.arm(arm), holdout.alpha).found
    return Completed(**fields, value=found.difference, standard_error=found.standard_error)


def _told_arm(measured: Measured, winner: str | None) -> str | None:
    if winner is not None:
        return winner
    return measured.treatments[0].name if len(measured.treatments) == 1 else None


def _why_not(row: Any, arm: str | None) -> str:
    if row.is_targeted:
        return "it was for targeted users only, and how many of all they are is not known"
    return "it has several treatments and no winner" if arm is None else ""
