"""Environments beside revisions, and a plan to bring them together, for a person to read. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks import markdown
from tasks.migrations.sync.matrix import Cell, EnvironmentRow, Matrix
from tasks.migrations.sync.plan import SyncPlan, TargetPlan

_SHOWN = 5
_WORDS = {
    "allowed": "gets",
    "nothing-to-do": "is there already",
    "refused": "refused",
    "waiting": "waits",
}


def matrix_markdown(matrix: Matrix) -> str:
    """One line for each revision, one column for each environment; below it what is wrong where."""
    head = ("revision", *(row.environment for row in matrix.environments))
    lines = [
        (revision, *(_cell(row, revision) for row in matrix.environments))
        for revision in matrix.revisions
    ]
    totals = [
        ("at", *(_heads(row) for row in matrix.environments)),
        ("state", *(row.state for row in matrix.environments)),
        ("drift", *(_drift(row) for row in matrix.environments)),
    ]
    notes = [note for row in matrix.environments for note in _notes(row)]
    return "\n\n".join(
        [markdown.table(head, [*lines, *totals]), *(["\n".join(notes)] if notes else [])]
    )


def sync_markdown(plan: SyncPlan) -> str:
    """What each environment gets, or why not, and the matrix that says so."""
    at = markdown.plain(", ".join(plan.goals) or "base")
    parts = [f"## Environments after {markdown.plain(plan.source)} ({at})"]
    parts += [f"- {markdown.plain(reason.message)}" for reason in plan.reasons]
    if plan.targets:
        rows = (_target(target) for target in plan.targets)
        parts.append(markdown.table(("environment", "verdict", "revisions", "why"), rows))
    return "\n\n".join([*parts, matrix_markdown(plan.matrix)])


def _cell(row: EnvironmentRow, revision: str) -> str:
    cell = row.cells.get(revision)
    if cell is None or cell.state == "not applicable":
        return "–"
    return " ".join(part for part in (cell.state, _content(cell), _when(cell)) if part)


def _content(cell: Cell) -> str:
    return (cell.script_checksum or "")[:8]


def _when(cell: Cell) -> str:
    when = f"{cell.applied_at:%Y-%m-%d}" if cell.applied_at else ""
    return f"{when} by {cell.actor}" if when and cell.actor else when


def _heads(row: EnvironmentRow) -> str:
    return ", ".join(row.heads) or ("base" if row.is_reachable else "not known")


def _drift(row: EnvironmentRow) -> str:
    return "not known" if row.drift is None else str(len(row.drift))


def _notes(row: EnvironmentRow) -> Iterator[str]:
    name = markdown.plain(row.environment)
    if row.gaps:
        yield f"- {name}: lacks {markdown.plain(', '.join(row.gaps))}, and has what builds on it"
    for found in (row.drift or ())[:_SHOWN]:
        yield f"- {name}: {markdown.plain(found)}"
    if len(row.drift or ()) > _SHOWN:
        yield f"- {name}: and {len(row.drift or ()) - _SHOWN} more differences"
    if row.problem and row.state != "drift":
        yield f"- {name}: {markdown.plain(row.problem)}"


def _target(target: TargetPlan) -> tuple[str, str, str, str]:
    why = "; ".join(f"[{reason.code}] {reason.message}" for reason in target.reasons)
    return target.environment, _WORDS[target.verdict], ", ".join(target.revisions), why
