"""What a hazard is, and the SQL that hazards are looked for in. Pure."""

from __future__ import annotations

from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from tasks.migrations.revision_graph.plan import Direction

Severity = Literal["critical", "high", "warning", "advice"]
Outcome = Literal["open", "confirmed", "dismissed"]
Downgrade = Literal["present", "empty", "raises", "missing"]


class Frozen(BaseModel):
    """A value: it does not change, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EmittedStatement(Frozen):
    """One statement as it is sent; ``transaction`` is None where it commits by itself.

    Statements with the same number share a transaction. ``is_scripts_own`` marks a BEGIN or
    COMMIT that the revision itself sends, past the runner.
    """

    sql: str
    transaction: int | None = 1
    is_scripts_own: bool = True

    @property
    def in_autocommit(self) -> bool:
        """True if the statement is a transaction of its own."""
        return self.transaction is None


class RevisionSql(Frozen):
    """A revision in one direction: its statements, and what its file shows besides.

    ``is_readable`` is false where the SQL could not be written down without a database; what
    a rehearsal has measured then takes its place. ``imports`` are modules of the application.
    """

    revision: str
    file: str
    direction: Direction = "upgrade"
    statements: tuple[EmittedStatement, ...] = ()
    is_readable: bool = True
    imports: tuple[str, ...] = ()
    downgrade: Downgrade = "present"
    irreversible: str | None = None
    lossy: str | None = None


class Hazard(Frozen):
    """Something that a statement may do to a database that is in use.

    ``needs_context`` says that the SQL alone cannot tell; ``outcome`` is what the catalogue or a
    rehearsal said about it since, and ``evidence`` why.
    """

    code: str
    severity: Severity
    revision: str
    direction: Direction = "upgrade"
    file: str = ""
    statement: str = ""
    position: int | None = None
    message: str
    safe_rewrite: str = ""
    tables: tuple[str, ...] = ()
    needs_context: bool = False
    source: str = "headway"
    outcome: Outcome = "open"
    evidence: str | None = None

    @property
    def approval(self) -> str:
        """How it is named where it is approved."""
        return f"{self.code}@{self.revision}"


class Measured(Protocol):
    """What a rehearsal says about one statement that it ran."""

    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def direction(self) -> str: ...  # noqa: D102
    @property
    def position(self) -> int: ...  # noqa: D102
    @property
    def sql(self) -> str: ...  # noqa: D102
    @property
    def milliseconds(self) -> float: ...  # noqa: D102
    @property
    def rewrites(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rows_scanned(self) -> dict[str, int]: ...  # noqa: D102
    @property
    def sqlstate(self) -> str | None: ...  # noqa: D102
