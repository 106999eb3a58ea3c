"""A revision file, as plans and the graph see it. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Script(BaseModel):
    """One revision file: its id, what it builds on, and the checksums of its content.

    ``checksum`` is the file's, ``script_checksum`` that of the code, however it is written down
    and whatever it builds on. ``lossy`` and ``irreversible`` are the reasons that the file gives
    (module constants) why its downgrade cannot bring every value back, or why there is none.
    ``is_stored`` is true of one that is known from the history only: its file is not there.
    ``leans_on_others``: it imports or reads other files, so its SQL may change without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    down_revisions: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    branch_labels: tuple[str, ...] = ()
    title: str = ""
    file: str
    checksum: str
    script_checksum: str | None = None
    lossy: str | None = None
    irreversible: str | None = None
    is_stored: bool = False
    leans_on_others: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Everything that must be applied before it."""
        return self.down_revisions + self.depends_on

    @property
    def content(self) -> str:
        """The checksum of what it says, whatever its layout."""
        return self.script_checksum or self.checksum


class UnreadableScript(BaseModel):
    """A file among the revisions that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    problem: str
