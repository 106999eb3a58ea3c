"""A scan for interactions, written down: one decision for all pairs, and alerts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import clock, decisions, markdown
from tasks.alerts.model import Observation
from tasks.alerts.recording import observe
from tasks.experiments.interactions.gathering import QUERIES
from tasks.experiments.interactions.judging import interactions
from tasks.experiments.interactions.model import (
    MetricTest,
    PairFinding,
    ScanEvidence,
    SharedUnits,
)

ALPHA = 0.01
"""Of a whole night, over all pairs."""

SUBJECT = "interactions"
METRIC = "interaction"
_HEALTH = {"adds-up": "healthy", "interacts": "unhealthy", "dependent": "unhealthy"}
_WORDS = {
    "interacts": "change each other's effects",
    "dependent": "share units by a rule",
    "adds-up": "add up",
    "unknown": "cannot be told",
}

_UNTESTED = MetricTest(experiment="", metric="", p_value=None, p_adjusted=None, differences=())


class InteractionScan(BaseModel):
    """What a scan found, the telling pairs first; of ``overlapping`` pairs those were looked at."""

    model_config = ConfigDict(frozen=True)

    decision_id: int | None = None
    scanned_at: datetime | None = None
    overlapping: int = 0
    alpha: float = ALPHA
    pairs: tuple[PairFinding, ...] = ()

    @property
    def telling(self) -> tuple[PairFinding, ...]:
        """The pairs that people should look at."""
        return tuple(each for each in self.pairs if each.outcome in {"interacts", "dependent"})

    @property
    def left_out(self) -> int:
        """Overlapping pairs that were not looked at: those with the fewest units in common."""
        return max(0, self.overlapping - len(self.pairs))

    @property
    def summary(self) -> str:
        """One line."""
        names = ", ".join(each.name for each in self.telling)
        found = f"{len(self.telling)} interact ({names})" if names else "none is seen to interact"
        unknown = sum(each.outcome == "unknown" for each in self.pairs)
        found += f", {unknown} cannot be told" if unknown else ""
        cut = f"; {self.left_out} more share fewer units and were not looked at"
        return (
            f"{len(self.pairs)} of {self.overlapping} overlapping pairs of experiments looked at: "
            f"{found}{cut if self.left_out else ''}"
        )

    def as_markdown(self) -> str:
        """A page: what interacts and what to do, and every pair."""
        parts = ["# Interactions between experiments", f"{self.summary}."]
        if self.telling:
            parts.append("\n".join(f"- {markdown.plain(each.message)}." for each in self.telling))
        if self.pairs:
            head = ("First", "Second", "Units in both", "Effects", "Metric", "p (adjusted)")
            rows = [row for each in self.pairs for row in _rows(each)]
            parts.append(markdown.table(head, rows))
            parts += self._untold()
            parts.append(
                f"Effects are said to interact below p = {self.alpha:g}, corrected by Holm over "
                "all pairs and metrics."
            )
        return "\n\n".join(parts) + "\n"

    def _untold(self) -> list[str]:
        """Why pairs cannot be told, those with the same reason together."""
        why: dict[str, list[str]] = {}
        for each in self.pairs:
            if each.outcome == "unknown":
                why.setdefault(each.message.removeprefix(f"{each.name}: "), []).append(each.name)
        lines = [f"- {reason}: {'; '.join(names)}." for reason, names in why.items()]
        told = "\n".join(map(markdown.plain, lines))
        return [f"What cannot be told:\n\n{told}"] if lines else []

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row a pair and metric."""
        shared = {"first", "second", "units", "outcome", "independence", "message"}
        return [
            each.model_dump(include=shared)
            | test.model_dump(include={"experiment", "metric", "p_value", "p_adjusted"})
            for each in self.pairs
            for test in each.metrics or (_UNTESTED,)
        ]


def record_scan(tx: Connection, overlapping: int, shared: Sequence[SharedUnits]) -> InteractionScan:
    """Judge all pairs together, write the decision down, and open or close alerts."""
    evidence = ScanEvidence(alpha=ALPHA, overlapping=overlapping, pairs=tuple(shared))
    decided = decisions.decide(tx, interactions, evidence, subject=SUBJECT)
    pairs = [PairFinding.model_validate(each) for each in decided.verdict.details["pairs"]]
    observe(tx, [*map(_observed, pairs), *_over(tx, pairs)])
    return InteractionScan(
        decision_id=decided.id,
        scanned_at=clock.now(tx),
        overlapping=overlapping,
        pairs=_telling_first(pairs),
    )


def last_scan(connection: Connection) -> InteractionScan:
    """The newest scan; one without pairs and moment where there was none."""
    row = connection.execute(QUERIES["last_scan"], {"subject": SUBJECT}).first()
    if row is None:
        return InteractionScan()
    found = [PairFinding.model_validate(each) for each in row.details["pairs"]]
    return InteractionScan(
        decision_id=row.id,
        scanned_at=row.decided_at,
        overlapping=row.inputs["overlapping"],
        alpha=row.inputs["alpha"],
        pairs=_telling_first(found),
    )


def _telling_first(pairs: Iterable[PairFinding]) -> tuple[PairFinding, ...]:
    order = list(_WORDS)
    return tuple(sorted(pairs, key=lambda each: order.index(each.outcome)))


def _observed(found: PairFinding) -> Observation:
    return Observation.model_validate(
        {
            "subject": _subject(found.first, found.second),
            "metric": METRIC,
            "health": _HEALTH.get(found.outcome, "inconclusive"),
            "severity": "warning",
            "title": f"{found.name} {_WORDS[found.outcome]}",
            "message": found.message,
            "details": {
                "first": found.first,
                "second": found.second,
                "units": found.units,
                "outcome": found.outcome,
            },
            "healthy_needed": 2,
        }
    )


def _over(tx: Connection, pairs: Iterable[PairFinding]) -> list[Observation]:
    """Alerts of pairs of which one has ended: nothing is left to interact."""
    seen = {_subject(each.first, each.second) for each in pairs}
    ended = tx.scalars(QUERIES["ended_pairs"], {"metric": METRIC}).all()
    return [
        Observation(
            subject=subject,
            metric=METRIC,
            health="over",
            severity="warning",
            title="the experiments no longer overlap",
            message="one of the two experiments has ended",
        )
        for subject in ended
        if subject not in seen
    ]


def _subject(first: str, second: str) -> str:
    return f"experiments:{first}+{second}"


def _rows(found: PairFinding) -> list[tuple[str, ...]]:
    shared = (found.first, found.second, f"{found.units:,}", _WORDS[found.outcome])
    return [
        (*shared, f"{each.metric} ({each.experiment})", _p(each.p_adjusted))
        for each in found.metrics
    ] or [(*shared, "", "")]


def _p(p_value: float | None) -> str:
    return "unknown" if p_value is None else f"{p_value:.3g}"
