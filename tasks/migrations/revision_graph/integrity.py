"""Has a revision's file been edited since it was applied, or only reformatted? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason
from tasks.migrations.revision_graph.script import Script

Likeness = Literal["same", "cosmetic", "rendered-otherwise", "edited"]
_SHOWN = 160
_AROUND = {"", "BEGIN", "COMMIT"}


class AppliedRevision(BaseModel):
    """What the history knows of a revision that is applied: when, by whom, and what it said then.

    ``position`` is its place in the order of application. ``parents`` are the revisions below it
    at that time (None: not known), ``script_checksum`` that of its code. One that ``is_stamped``
    was written into the version table without being run; ``is_verified`` if the schema was
    compared since. ``is_stored`` says that the history holds its source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    position: int
    checksum: str | None = None
    script_checksum: str | None = None
    parents: tuple[str, ...] | None = None
    is_stamped: bool = False
    is_verified: bool = False
    is_stored: bool = False
    actor: str | None = None
    applied_at: datetime | None = None

    @property
    def occasion(self) -> str:
        """When it was applied, and by whom."""
        when = f"{self.applied_at:%Y-%m-%d %H:%M}" if self.applied_at else "at an unknown time"
        how = "stamped" if self.is_stamped else "applied"
        return f"{how} {when} by {self.actor or 'an unknown person'}"


class WrittenSql(BaseModel):
    """A revision's SQL both ways (None: not known), and the libraries that wrote it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upgrade: str | None = None
    downgrade: str | None = None
    renderer: str | None = None


class ChangedContent(BaseModel):
    """The SQL of an applied revision as it was recorded, and as its file gives it now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    stored: WrittenSql
    current: WrittenSql


def compare(
    script: Script, recorded: AppliedRevision, changed: ChangedContent | None = None
) -> Likeness:
    """How the file of an applied revision compares with what was recorded of it.

    Without a recorded checksum (applied before Headway) it is trusted. Where only the checksum
    of the file was recorded, any change of the file is an edit.
    """
    if recorded.checksum is None:
        return "same"
    is_same_file = recorded.checksum == script.checksum
    if recorded.script_checksum is None:
        return "same" if is_same_file else "edited"
    if recorded.script_checksum != script.script_checksum:
        return "edited"
    if changed is not None and _difference(changed) is not None:
        is_same_renderer = changed.stored.renderer == changed.current.renderer
        return "edited" if is_same_renderer else "rendered-otherwise"
    return "same" if is_same_file else "cosmetic"


def edited(
    scripts: Sequence[Script],
    history: Sequence[AppliedRevision],
    applied: Iterable[str],
    changed: Sequence[ChangedContent] = (),
    environment: str | None = None,
) -> tuple[Reason, ...]:
    """A reason for each applied revision that no longer says what was recorded of it."""
    recorded = {item.revision: item for item in history}
    sql = {item.revision: item for item in changed}
    chosen = set(applied)
    return tuple(
        _edited(script, recorded[script.revision], sql.get(script.revision), environment)
        for script in scripts
        if script.revision in chosen
        and script.revision in recorded
        and compare(script, recorded[script.revision], sql.get(script.revision)) == "edited"
    )


def _edited(
    script: Script,
    recorded: AppliedRevision,
    changed: ChangedContent | None,
    environment: str | None,
) -> Reason:
    where = f" --env {environment}" if environment else ""
    before, now = recorded.script_checksum or recorded.checksum or "", script.content
    if recorded.script_checksum is None:
        now = script.checksum
    shown = _difference(changed) if changed else None
    if shown:
        evidence = shown
    elif before == now:
        evidence = "what it imports changed"
    else:
        evidence = "its SQL is the same or cannot be written down; its code is not"
    return Reason(
        "edited-revision",
        f"{script.file} (revision {script.revision!r}, {recorded.occasion}) was edited after it "
        f"was applied (content {before[:12]}, now {now[:12]}): {evidence}. Restore the file "
        f"(from version control, or headway migrate resolve{where} --restore {script.revision}), "
        "and write the change as a new revision instead",
    )


def _difference(changed: ChangedContent) -> str | None:
    """The first statement that differs, in words; None if none does or it is not known."""
    for direction in ("upgrade", "downgrade"):
        stored = getattr(changed.stored, direction)
        current = getattr(changed.current, direction)
        if stored is None or current is None:
            continue
        for before, now in zip_longest(_statements(stored), _statements(current)):
            if before != now:
                return f"its {direction} was {_shown(before)}, and is now {_shown(now)}"
    return None


def _statements(sql: str) -> list[str]:
    parts = (" ".join(part.split()) for part in sql.split(";\n"))
    return [part for part in parts if part.rstrip(";") not in _AROUND]


def _shown(statement: str | None) -> str:
    if statement is None:
        return "nothing there"
    return f"`{statement[:_SHOWN]}…`" if len(statement) > _SHOWN else f"`{statement}`"
