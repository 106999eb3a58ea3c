"""Has a revision's file been edited since it was applied? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason
from tasks.migrations.script import Script


class AppliedRevision(BaseModel):
    """What the history knows of an applied revision: its place in the order, and its checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    position: int
    checksum: str | None = None


def edited(
    scripts: Sequence[Script], history: Sequence[AppliedRevision], applied: Iterable[str]
) -> tuple[Reason, ...]:
    """A reason for each applied revision whose file no longer has the recorded content.

    A revision without a recorded checksum (applied before Headway, or stamped over) is trusted.
    """
    recorded = {item.revision: item.checksum for item in history}
    chosen = set(applied)
    return tuple(
        Reason(
            "edited-revision",
            f"{script.file} was edited after it was applied (applied {_short(stored)}, "
            f"now {_short(script.checksum)}); restore the file and write a new revision instead",
        )
        for script in scripts
        if script.revision in chosen
        and (stored := recorded.get(script.revision)) is not None
        and stored != script.checksum
    )


def _short(checksum: str) -> str:
    return checksum[:12]
