"""What a migration run did, for a person to read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.migrations.applying.moves import Moved
from tasks.migrations.archive.words import archived_lines, in_brief, restored_lines
from tasks.migrations.revision_graph.plan import Direction
from tasks.migrations.validation.check import SchemaCheck

_DONE = {"upgrade": "applied", "downgrade": "rolled back"}
_WORDS = {"already": "found done by another run", "refused": "refused"}


class Section(BaseModel):
    """A part of a report: a heading, and markdown below it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    body: str


class MigrationResult(BaseModel):
    """The outcome of a run: the verdict of the plan, what was moved, and the schema after it."""

    model_config = ConfigDict(frozen=True)

    environment: str
    direction: Direction
    decision_id: int
    verdict: str
    moved: tuple[Moved, ...] = ()
    check: SchemaCheck

    @property
    def summary(self) -> str:
        """One line."""
        if not self.moved:
            at = ", ".join(self.check.current) or "the empty schema"
            return f"{self.environment}: nothing to do; the database is at {at}"
        listed = ", ".join(_in_brief(moved) for moved in self.moved)
        return f"{self.environment}: {listed}"

    def as_markdown(self, *sections: Section) -> str:
        """The report that a run leaves as its artifact, with what else there is to say.

        Sections are the rehearsal, the hazards, drift, what came back from the archive, the matrix.
        """
        parts = [f"## Schema of {markdown.plain(self.environment)}"]
        parts.append(markdown.plain(self.summary) + ".")
        if self.moved:
            parts += [_table(self.moved), *_kept(self.moved)]
        parts.append(_validation(self.check))
        parts += [f"### {markdown.plain(each.title)}\n\n{each.body}" for each in sections]
        parts.append(f"Plan: decision {self.decision_id} ({self.verdict}).")
        return "\n\n".join(parts)


def _outcome(moved: Moved) -> str:
    return _WORDS.get(moved.outcome, _DONE[moved.direction])


def _in_brief(moved: Moved) -> str:
    rows = in_brief(moved.archived, moved.restored)
    return f"{moved.revision} {_outcome(moved)}" + (f" ({rows})" if rows else "")


def _kept(moved: Sequence[Moved]) -> Iterator[str]:
    """What is in the archive now, and what came back from it, each in a list of its own."""
    went = [line for m in moved if m.archived for line in archived_lines(m.archived)]
    came = [line for m in moved if m.restored for line in restored_lines(m.restored)]
    for title, lines in (("Archived", went), ("Brought back from the archive", came)):
        if lines:
            listed = "\n".join(f"- {markdown.plain(line)}" for line in lines)
            yield f"### {title}\n\n{listed}"


def _table(moved: Sequence[Moved]) -> str:
    rows = (
        (
            item.revision,
            _outcome(item),
            "" if item.seconds is None else f"{item.seconds:.2f}",
            item.archived.rows if item.archived else 0,
            item.restored.rows if item.restored else 0,
        )
        for item in moved
    )
    return markdown.table(
        ("revision", "outcome", "seconds", "rows archived", "rows brought back"), rows
    )


def _validation(check: SchemaCheck) -> str:
    if check.is_sound and check.drift is None and check.is_as_rehearsed:
        return "Validation: the schema is exactly as rehearsed."
    if check.is_sound and check.drift is None:
        return "Validation: not at the newest revision, so not compared with the description."
    if check.is_sound:
        return "Validation: the schema is exactly as described."
    found = [f"- drift: {markdown.plain(item)}" for item in check.drift or ()]
    found += [f"- invalid index: {markdown.plain(name)}" for name in check.invalid_indexes]
    found += [
        f"- constraint never validated: {markdown.plain(name)}"
        for name in check.unvalidated_constraints
    ]
    found += [f"- suite failed: {markdown.plain(name)}" for name in check.failed_suites]
    found += ["- the schema is not as rehearsed"] if check.is_as_rehearsed is False else []
    return "Validation found:\n\n" + "\n".join(found)
