"""What is known of a database and of the revision files before anything is judged. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.migrations.revision_graph.integrity import AppliedRevision, ChangedContent
from tasks.migrations.revision_graph.script import Script, UnreadableScript


class VersionTable(BaseModel):
    """A version table in a schema that is not the configured one, and its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    revisions: tuple[str, ...]


class DatabaseEvidence(BaseModel):
    """The files, and what a database says of itself.

    ``current`` are its heads (the version table's rows), ``history`` the applied revisions as the
    history adds up, ``changed`` the SQL of those whose file may say something else now,
    ``elsewhere`` version tables in other schemas (looked for if the configured one is empty).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    scripts: tuple[Script, ...]
    unreadable: tuple[UnreadableScript, ...] = ()
    current: tuple[str, ...] = ()
    history: tuple[AppliedRevision, ...] = ()
    changed: tuple[ChangedContent, ...] = ()
    elsewhere: tuple[VersionTable, ...] = ()
