"""Environments beside revisions: what is applied where, with which content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.facts import DatabaseEvidence
from tasks.migrations.revision_graph.script import Script
from tasks.migrations.status import status_of
from tasks.migrations.survey import Executed, Look

CellState = Literal[
    "applied",
    "adopted",
    "stamped",
    "pending",
    "edited",
    "spliced",
    "missing",
    "ahead",
    "foreign",
    "not applicable",
]
NOT_APPLICABLE: CellState = "not applicable"
# Its change is in the database, whatever the files say by now.
PRESENT: frozenset[str] = frozenset(
    {"applied", "adopted", "stamped", "edited", "missing", "ahead", "foreign"}
)


class Cell(BaseModel):
    """One revision in one environment.

    ``script_checksum`` and ``sql_checksum`` are of what ran there, as its history has it, and
    ``renderer`` names the libraries that wrote the SQL down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: CellState
    script_checksum: str | None = None
    sql_checksum: str | None = None
    renderer: str | None = None
    applied_at: datetime | None = None
    actor: str | None = None


class EnvironmentRow(BaseModel):
    """One environment: its cells by revision, and what is to be said of it as a whole.

    ``gaps`` are revisions that it has not, although it has what builds on them. ``drift`` is None
    where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    order: int
    state: str
    is_reachable: bool
    heads: tuple[str, ...] = ()
    cells: dict[str, Cell]
    gaps: tuple[str, ...] = ()
    drift: tuple[str, ...] | None = None
    problem: str | None = None

    def has(self, revision: str) -> bool:
        """True if the revision's change is in this database, as far as is known."""
        found = self.cells.get(revision)
        return found is not None and found.state in PRESENT


class Matrix(BaseModel):
    """Every environment in the order in which changes pass, every revision in that of an upgrade.

    Revisions without a file, known from a database only, come last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revisions: tuple[str, ...]
    environments: tuple[EnvironmentRow, ...]

    def row(self, environment: str) -> EnvironmentRow:
        """The row of an environment; LookupError without one."""
        for found in self.environments:
            if found.environment == environment:
                return found
        raise LookupError(environment)


def matrix_of(looks: Sequence[Look]) -> Matrix:
    """What was found, as a matrix."""
    revisions = _revisions(looks)
    return Matrix(revisions=revisions, environments=tuple(_row(look, revisions) for look in looks))


def _revisions(looks: Iterable[Look]) -> tuple[str, ...]:
    ordered: dict[str, None] = {}
    without_file: dict[str, None] = {}
    for look in looks:
        if look.evidence is None or look.findings is None:
            continue
        scripts = look.evidence.scripts
        ordered |= dict.fromkeys(s.revision for s in graph.upward(scripts, _ids(scripts)))
        ordered |= dict.fromkeys(sorted(_ids(scripts)))
        unknown = look.findings.applied - _ids(scripts)
        known = sorted(look.evidence.history, key=lambda item: item.position)
        without_file |= dict.fromkeys(i.revision for i in known if i.revision in unknown)
        without_file |= dict.fromkeys(sorted(unknown))
    return tuple(ordered | without_file)


def _ids(scripts: Iterable[Script]) -> frozenset[str]:
    return frozenset(script.revision for script in scripts)


def _row(look: Look, revisions: Iterable[str]) -> EnvironmentRow:
    status = status_of(look)
    cells = {revision: Cell(state=NOT_APPLICABLE) for revision in revisions}
    if look.evidence is not None and look.findings is not None:
        cells = {each: _cell(look, look.evidence, look.findings, each) for each in cells}
    return EnvironmentRow(
        environment=look.environment,
        order=look.order,
        state=status.state,
        is_reachable=look.is_reached,
        heads=look.evidence.current if look.evidence else (),
        cells=cells,
        gaps=tuple(revision for revision, cell in cells.items() if cell.state == "spliced"),
        drift=look.drift,
        problem=status.problem,
    )


def _cell(look: Look, evidence: DatabaseEvidence, findings: Findings, revision: str) -> Cell:
    ran = look.executed.get(revision)
    state = _state(evidence, findings, ran, revision)
    if state not in PRESENT:
        return Cell(state=state)
    recorded = {item.revision: item for item in evidence.history}.get(revision)
    return Cell(
        state=state,
        script_checksum=ran.script_checksum if ran else None,
        sql_checksum=ran.sql_checksum if ran else None,
        renderer=ran.renderer if ran else None,
        applied_at=recorded.applied_at if recorded else None,
        actor=recorded.actor if recorded else None,
    )


def _state(
    evidence: DatabaseEvidence, findings: Findings, ran: Executed | None, revision: str
) -> CellState:
    named: tuple[CellState, ...] = ("foreign", "ahead", "missing", "edited", "spliced", "stamped")
    for state in named:
        if revision in getattr(findings, state):
            return state
    if revision in findings.applied:
        return "adopted" if ran is not None and ran.direction == "adopt" else "applied"
    return "pending" if revision in _ids(evidence.scripts) else NOT_APPLICABLE
