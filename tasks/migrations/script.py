"""A revision file, as plans and the graph see it. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Script(BaseModel):
    """One revision file: its id, what it builds on, and the checksum of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    down_revisions: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    title: str = ""
    file: str
    checksum: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Everything that must be applied before it."""
        return self.down_revisions + self.depends_on


class UnreadableScript(BaseModel):
    """A file among the revisions that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    problem: str
