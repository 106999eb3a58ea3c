"""What a downgrade takes away, what was archived of it, and what came back of that. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

TableName = tuple[str, str]
"""Schema and table, as they are (not quoted)."""
ColumnName = tuple[str, str, str]
"""Schema, table and column."""
EnumLabel = tuple[str, str, str]
"""Schema and name of an enum type, and one of its values."""
Kind = Literal["table", "rows", "column", "narrowed", "enum", "sequence"]
"""Why it is archived: its table is dropped; its rows are changed by statements; its columns are
dropped, made narrower, or lose a value of their enum; it is a sequence."""


class Effect(BaseModel):
    """What the downgrade of a revision takes away: names as they are before it."""

    model_config = ConfigDict(frozen=True)

    dropped_tables: tuple[TableName, ...] = ()
    dropped_columns: tuple[ColumnName, ...] = ()
    narrowed_columns: tuple[ColumnName, ...] = ()
    dml_tables: tuple[TableName, ...] = ()
    removed_enum_values: tuple[EnumLabel, ...] = ()
    dropped_sequences: tuple[TableName, ...] = ()


class ArchivedPart(BaseModel):
    """One table's rows or columns, and where they lie."""

    model_config = ConfigDict(frozen=True)

    entry: int
    kind: Kind
    schema_name: str
    table: str
    columns: tuple[str, ...]
    rows: int
    archived_in: str | None = None


class Archived(BaseModel):
    """What was archived before a downgrade: ``finish`` completes it afterwards."""

    model_config = ConfigDict(frozen=True)

    environment: str
    revision: str
    parts: tuple[ArchivedPart, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all parts together."""
        return sum(part.rows for part in self.parts if part.kind != "sequence")


class Sample(BaseModel):
    """How many, and the keys of the first few."""

    model_config = ConfigDict(frozen=True)

    count: int = 0
    first_keys: tuple[str, ...] = ()


class RestoredPart(BaseModel):
    """What became of one archived part, and what had changed in between.

    ``added``: rows that are new since the rollback, and have the default. ``deleted``: rows that
    were deleted since; they stay in the archive. ``changed``: values that were changed since, and
    stay so. ``conflicts``: rows that something forbids now; they stay in the archive.
    """

    model_config = ConfigDict(frozen=True)

    entry: int
    kind: Kind
    schema_name: str
    table: str
    columns: tuple[str, ...] = ()
    rows: int = 0
    added: Sample = Sample()
    deleted: Sample = Sample()
    changed: Sample = Sample()
    conflicts: Sample = Sample()
    problems: tuple[str, ...] = ()
    is_pending: bool = False

    @property
    def left(self) -> int:
        """Rows that are in the archive only."""
        return self.deleted.count + self.conflicts.count

    @property
    def is_whole(self) -> bool:
        """True if all came back, and nothing had changed in between."""
        told = self.left or self.added.count or self.changed.count or self.problems
        return not (told or self.is_pending)


class Restored(BaseModel):
    """What an upgrade got back from the archive; nothing if there was nothing."""

    model_config = ConfigDict(frozen=True)

    environment: str
    revision: str
    parts: tuple[RestoredPart, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that came back."""
        return sum(part.rows for part in self.parts if part.kind != "sequence")

    @property
    def is_pending(self) -> bool:
        """True if some of it can come back only after a commit."""
        return any(part.is_pending for part in self.parts)


class EnumUse(BaseModel):
    """How many rows of a column use a value of its enum."""

    model_config = ConfigDict(frozen=True)

    type_schema: str
    type_name: str
    value: str
    schema_name: str
    table: str
    column: str
    rows: int
