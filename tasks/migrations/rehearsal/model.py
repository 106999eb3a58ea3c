"""What a rehearsal found out, as data. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.migrations.archive.model import Effect, TableName
from tasks.migrations.fingerprint.model import Fingerprint
from tasks.migrations.revision_graph.plan import Direction

# Locks that make other sessions wait that only read or write rows, the strongest first.
BLOCKING = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock")
STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


class Frozen(BaseModel):
    """A value: it does not change, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TableChecksum(Frozen):
    """How many rows a table has, and a checksum of each column that no order of rows changes."""

    rows: int
    columns: dict[str, str]


class LockTime(Frozen):
    """How long a revision holds a lock that others wait for."""

    relation: str
    mode: str
    milliseconds: float


class MeasuredStatement(Frozen):
    """One statement, and what it did: ``locks`` maps relations to the strongest new lock.

    ``rewrites`` are tables that were written anew, ``rows_scanned`` rows read in sequence and
    ``rows_written`` rows inserted, changed or deleted, by table.
    """

    revision: str
    direction: Direction
    position: int
    sql: str
    milliseconds: float
    locks: dict[str, str] = {}
    rewrites: tuple[str, ...] = ()
    rows_scanned: dict[str, int] = {}
    rows_written: dict[str, int] = {}
    all_locks: dict[str, tuple[str, ...]] = {}
    truncated: tuple[str, ...] = ()
    sqlstate: str | None = None

    @property
    def strongest_lock(self) -> tuple[str, str] | None:
        """The relation and mode of the strongest lock that the statement took."""
        if not self.locks:
            return None
        return max(self.locks.items(), key=lambda each: (STRENGTH.index(each[1]), each[0]))


class Failure(Frozen):
    """Where a rehearsal ended: the statement and what the database said."""

    revision: str
    direction: Direction
    pass_name: str
    statement: str | None = None
    sqlstate: str | None = None
    message: str


class RevisionEffect(Effect):
    """What one revision took away or changed, so that it can be kept: names as they were before.

    ``narrowed_columns`` changed their type so that a value may not fit (``type_changes`` says from
    what to what); ``dml_tables`` are tables whose rows it wrote, or emptied, or may have changed
    through a foreign key; ``triggered_tables`` are those of them whose triggers may write others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    direction: Direction
    type_changes: dict[str, tuple[str, str]] = Field(default_factory=dict)
    truncated_tables: tuple[TableName, ...] = ()
    triggered_tables: tuple[TableName, ...] = ()
    lock_times: tuple[LockTime, ...] = ()
    milliseconds: float = 0.0

    @property
    def lock_ms(self) -> dict[str, float]:
        """The longest lock of each relation that others wait for."""
        longest: dict[str, float] = {}
        for lock in self.lock_times:
            longest[lock.relation] = max(longest.get(lock.relation, 0.0), lock.milliseconds)
        return longest

    @property
    def takes_away(self) -> bool:
        """True if values may be gone afterwards."""
        return bool(
            self.dropped_tables
            or self.dropped_columns
            or self.narrowed_columns
            or self.dml_tables
            or self.truncated_tables
            or self.removed_enum_values
            or self.dropped_sequences
        )


class RoundTrip(Frozen):
    """One revision there and back again: what did not come back as it was.

    ``schema_differences`` and ``lost`` (tables and columns) are None where it could not be tried;
    ``is_repeated`` says that it could then be done once more.
    """

    revision: str
    schema_differences: tuple[str, ...] | None = None
    lost: tuple[str, ...] | None = None
    is_repeated: bool = False
    is_downgrade_empty: bool = False
    lossy: str | None = None
    irreversible: str | None = None

    @property
    def is_lossless(self) -> bool:
        """True if it was tried, and schema and rows came back."""
        return self.schema_differences == () and self.lost == ()


class Rehearsal(Frozen):
    """Everything that a rehearsal of these revisions found out.

    ``row_counts`` are of the copy; ``nondeterministic`` columns came out otherwise the second time.
    ``after_hash`` is the fingerprint that the target should have afterwards; None if it is unknown.
    ``after`` is the copy's whole fingerprint; it is not kept.
    """

    environment: str
    direction: Direction
    revisions: tuple[str, ...]
    data: Literal["full", "sample", "none"]
    sample_rows: int
    row_counts: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    statements: tuple[MeasuredStatement, ...] = ()
    effects: tuple[RevisionEffect, ...] = ()
    round_trips: tuple[RoundTrip, ...] = ()
    failure: Failure | None = None
    nondeterministic: tuple[str, ...] = ()
    before_hash: str | None = None
    after_hash: str | None = None
    after: Fingerprint | None = Field(default=None, exclude=True, repr=False)
    seconds: float = 0.0

    def effect(self, revision: str, direction: Direction) -> RevisionEffect | None:
        """What the revision does in this direction, if it was run."""
        found = (e for e in self.effects if (e.revision, e.direction) == (revision, direction))
        return next(found, None)

    def round_trip(self, revision: str) -> RoundTrip | None:
        """How the revision came back, if it was tried."""
        return next((each for each in self.round_trips if each.revision == revision), None)

    def is_lossless(self, revision: str) -> bool | None:
        """True if every row came back; None if nobody can say so: not tried, or not with all."""
        trip = self.round_trip(revision)
        if trip is None or trip.lost is None or trip.schema_differences is None:
            return None
        if not trip.is_lossless:
            return False
        return True if trip.is_repeated and self.data == "full" else None
