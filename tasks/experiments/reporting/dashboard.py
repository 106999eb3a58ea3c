"""The dashboard: every experiment in one line, and what to do about it next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import markdown
from tasks.database import load_queries
from tasks.errors import InputError
from tasks.experiments.quality.checks.calibration import BROKEN, judge_calibrations
from tasks.experiments.quality.facts import Calibrated
from tasks.experiments.reporting.advice import next_steps
from tasks.experiments.reporting.bandits import read_bandits
from tasks.experiments.reporting.bandits_page import BanditFacts, bandit_line
from tasks.experiments.reporting.look import StoredLook, stored_look
from tasks.experiments.reporting.words import NONE, day, share

QUERIES = load_queries(__package__)
CHECKS = load_queries("tasks.experiments.quality")
STATUSES = ("active", "paused", "draft", "completed", "archived")
_DAY = timedelta(days=1)
_LONGEST_DAYS = 3650


class DashboardRow(BaseModel):
    """Where one experiment stands; everything that was decided is of its last look."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    organization: str | None
    method: str
    policy: str
    metric: str | None
    day: int | None  # since the start, from 1
    days: int | None  # in all: to ends_at, or as the sample has grown so far
    is_end_expected: bool  # the days are a projection
    sample: int  # units with a value, over all arms
    planned_sample: int | None
    assigned: int
    split: dict[str, float]
    bandit: BanditFacts | None  # without its single epochs
    verdict: str | None
    winner: str | None
    sentence: str
    nearest: str | None
    failed_checks: tuple[str, ...]
    is_calibration_broken: bool  # by the latest calibration, also one after the last look
    failed_metrics: tuple[str, ...]
    looked_at: datetime | None
    next_steps: tuple[str, ...]


class Dashboard(BaseModel):
    """All experiments, and how many there are of each status."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime | None
    counts: dict[str, int]
    experiments: tuple[DashboardRow, ...]

    def as_markdown(self) -> str:
        """The dashboard as a page."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        head = f"# Experiments\n\n{counts or 'There are no experiments yet.'}"
        if not self.experiments:
            return f"{head}\n"
        steps = [
            f"- **{markdown.plain(row.name)}**: {markdown.plain(step)}"
            for row in self.experiments
            for step in row.next_steps
        ]
        parts = [f"{head} – as of {day(self.as_of)} UTC.", _table(self.experiments)]
        return "\n\n".join([*parts, "## Next steps", "\n".join(steps) or "None."]) + "\n"

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row an experiment."""
        return [
            row.model_dump(mode="json")
            | {
                "split": _split(row.split),
                "bandit": bandit_line(row.bandit) if row.bandit else "",
                "failed_checks": "; ".join(row.failed_checks),
                "failed_metrics": "; ".join(row.failed_metrics),
                "next_steps": " ".join(row.next_steps),
            }
            for row in self.experiments
        ]


def read_dashboard(connection: Connection) -> Dashboard:
    """Read where every experiment stands, in four statements; those that run come first."""
    rows = connection.execute(QUERIES["dashboard"]).all()
    calibrated = _calibrated(connection, rows)
    bandits = read_bandits(connection)
    found = Counter(row.status for row in rows)
    return Dashboard(
        as_of=rows[0].now if rows else None,
        counts={status: found.get(status, 0) for status in STATUSES},
        experiments=tuple(
            _experiment(row, bandits.get(row.name), calibrated.get(row.id, ())) for row in rows
        ),
    )


def _calibrated(connection: Connection, rows: Sequence[Any]) -> dict[UUID, list[Calibrated]]:
    """The latest calibrations of each experiment: the last look may be older than they are."""
    found: dict[UUID, list[Calibrated]] = {}
    asked = {"experiment_ids": [row.id for row in rows]}
    for row in connection.execute(CHECKS["calibrations"], asked).mappings():
        fields = {name: row[name] for name in Calibrated.model_fields}
        found.setdefault(row["experiment_id"], []).append(Calibrated.model_validate(fields))
    return found


def _experiment(
    row: Any, bandit: BanditFacts | None, calibrated: Sequence[Calibrated]
) -> DashboardRow:
    look, unread = _last_look(row)
    calibration = judge_calibrations(row.name, calibrated, is_bandit=bandit is not None)
    day_now, days, is_expected = _days(row)
    return DashboardRow(
        name=row.name,
        status=row.status,
        organization=row.organization,
        method=row.method,
        policy=row.policy,
        metric=row.metric,
        day=day_now,
        days=days,
        is_end_expected=is_expected,
        sample=row.n,
        planned_sample=row.planned_sample_size,
        assigned=row.assigned,
        split=row.split or {},
        bandit=bandit,
        verdict=look.verdict if look else None,
        winner=row.winner,
        sentence=look.sentence if look else unread,
        nearest=look.nearest if look else None,
        failed_checks=tuple(check.name for check in look.closed_checks) if look else (),
        failed_metrics=tuple(m.name for m in look.metrics if m.failure) if look else (),
        is_calibration_broken=BROKEN in calibration.figures,
        looked_at=look.decided_at if look else None,
        next_steps=tuple(next_steps(row, look, calibration)),
    )


def _last_look(row: Any) -> tuple[StoredLook | None, str]:
    """Read the last look; one that cannot be read must not take the others with it."""
    if row.decision_id is None:
        return None, "It has not been looked at yet."
    try:
        return stored_look(row, row.metric or "", row.kind or ""), ""
    except InputError as error:
        return None, f"What was decided is not known: {error}."


def _days(row: Any) -> tuple[int | None, int | None, bool]:
    """Day n of m. Without an end the days are those the planned sample takes at this pace."""
    if row.started_at is None:
        planned = None
        if row.starts_at and row.ends_at:
            planned = ceil((row.ends_at - row.starts_at) / _DAY)
        return None, planned, False
    passed = max((row.completed_at or row.now) - row.started_at, timedelta()) / _DAY
    number = int(passed) + 1
    if row.completed_at is not None:
        return number, number, False
    if row.ends_at is not None:
        return number, max(ceil((row.ends_at - row.started_at) / _DAY), number), False
    if not row.n or not row.planned_sample_size:
        return number, None, True
    needed = max(passed * row.planned_sample_size / row.n, row.minimum_weeks * 7)
    return number, max(ceil(min(needed, _LONGEST_DAYS)), number), True


def _table(rows: tuple[DashboardRow, ...]) -> str:
    head = (
        "Experiment",
        "Status",
        "Organisation",
        "Day",
        "Sample",
        "Verdict",
        "Nearest condition",
        "Checks that failed",
        "Split",
    )
    return markdown.table(head, [_cells(row) for row in rows])


def _cells(row: DashboardRow) -> tuple[str, ...]:
    planned = row.planned_sample
    sample = f"{row.sample:,} of {planned:,} ({share(row.sample / planned)})" if planned else NONE
    days = f" of {'about ' if row.is_end_expected else ''}{row.days}" if row.days else ""
    broken = ("calibration broken",) if row.is_calibration_broken else ()
    failed = (*row.failed_checks, *broken, *(f"metric {name}" for name in row.failed_metrics))
    return (
        row.name,
        row.status,
        row.organization or NONE,
        f"{row.day}{days}" if row.day else NONE,
        sample,
        _verdict(row),
        row.nearest or NONE,
        ", ".join(failed) or "none",
        _split(row.split) + (f" – {bandit_line(row.bandit)}" if row.bandit else ""),
    )


def _verdict(row: DashboardRow) -> str:
    if not row.winner:
        return row.sentence
    return f"{row.winner} {'wins' if row.verdict == 'winner' else 'was chosen'}. {row.sentence}"


def _split(split: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:.4g}" for name, weight in sorted(split.items()))
