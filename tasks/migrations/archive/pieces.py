"""What an archived piece is: rows of one table, by which columns they are known, and which count.

Pure. Types that users made are stored as text, so that no archive holds on to a type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from tasks.migrations.archive.model import Effect, Kind, TableName


class Column(BaseModel):
    """A column as the catalogue has it; ``is_native``: its type and collation are Postgres's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    type: str
    is_native: bool
    is_generated: bool = False


class Table(BaseModel):
    """A table as the catalogue has it; ``keys``: what identifies a row, the primary key first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    oid: int
    schema_name: str
    name: str
    is_partitioned: bool
    has_versions: bool
    hides_rows: bool
    ancestors: tuple[TableName, ...]
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def place(self) -> TableName:
        """Schema and name."""
        return self.schema_name, self.name


class Piece(BaseModel):
    """What is kept of a table: ``values`` of rows that are known by ``key``.

    Without a key a row is known by everything else that is stored of it (``match``).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    relation: int
    schema_name: str
    table: str
    is_partitioned: bool = False
    key: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    stored: tuple[Column, ...] = ()
    order: tuple[str, ...] = ()
    condition: str | None = None
    can_be_copied_before: bool = False

    @property
    def match(self) -> tuple[Column, ...]:
        """The columns by which a row of the archive finds its row of the table."""
        if self.key:
            named = {column.name: column for column in self.stored}
            return tuple(named[name] for name in self.key)
        if self.kind in {"table", "rows"}:
            return self.stored
        return tuple(column for column in self.stored if column.name not in self.values)

    @property
    def value_columns(self) -> tuple[Column, ...]:
        """The stored columns that are put back."""
        return tuple(column for column in self.stored if column.name in self.values)

    @property
    def keeps_difference(self) -> bool:
        """True if only rows are kept that the downgrade has really changed."""
        return self.kind in {"rows", "narrowed", "enum"}


def pieces_of(effect: Effect, tables: Iterable[Table]) -> tuple[Piece, ...]:
    """The pieces of all that a downgrade takes away, in a fixed order of the tables.

    A partition goes with the table that it is part of, if that is taken away in the same manner.
    """
    found = sorted(tables, key=lambda table: table.place)
    dropped = set(effect.dropped_tables)
    pieces: list[Piece] = []
    for table in found:
        if table.place in dropped:
            if not dropped.intersection(table.ancestors):
                pieces.append(_whole(table, "table"))
            continue
        changed = set(effect.dml_tables)
        if table.place in changed and not changed.intersection(table.ancestors):
            pieces.append(_whole(table, "rows"))
        pieces += _of_columns(table, effect)
    return tuple(pieces)


def _of_columns(table: Table, effect: Effect) -> Iterable[Piece]:
    dropped = _names(effect.dropped_columns, table)
    narrowed = _names(effect.narrowed_columns, table)
    if dropped:
        yield part_of(table, "column", dropped, unstable=narrowed)
    if narrowed:
        yield part_of(table, "narrowed", narrowed, unstable=dropped)


def _names(columns: Iterable[tuple[str, str, str]], table: Table) -> tuple[str, ...]:
    columns = tuple(columns)
    inherited = {
        name for schema, parent, name in columns if (schema, parent) in set(table.ancestors)
    }
    stored = {column.name for column in table.columns if not column.is_generated}
    return tuple(
        name
        for schema, parent, name in dict.fromkeys(columns)
        if (schema, parent) == table.place and name in stored - inherited
    )


def _whole(table: Table, kind: Kind) -> Piece:
    stored = tuple(column for column in table.columns if not column.is_generated)
    key = table.keys[0] if table.keys else ()
    return _piece(table, kind, key, tuple(column.name for column in stored), stored)


def part_of(
    table: Table,
    kind: Kind,
    values: Sequence[str],
    *,
    unstable: Collection[str] = (),
    condition: str | None = None,
) -> Piece:
    """The values of some columns, by a key that none of the changing columns is part of."""
    changing = {*values, *unstable}
    usable = [key for key in table.keys if not changing.intersection(key)]
    key = usable[0] if usable else ()
    stored = tuple(
        column
        for column in table.columns
        if not column.is_generated
        and (column.name in {*key, *values} if key else column.name not in set(unstable))
    )
    in_keys = {name for each in table.keys for name in each}
    piece = _piece(table, kind, key, tuple(values), stored, condition if key else None)
    order = () if key else tuple(name for name in values if name in in_keys)
    return piece.model_copy(update={"order": order})


def _piece(
    table: Table,
    kind: Kind,
    key: tuple[str, ...],
    values: tuple[str, ...],
    stored: tuple[Column, ...],
    condition: str | None = None,
) -> Piece:
    is_seen = table.has_versions and not table.hides_rows
    return Piece(
        kind=kind,
        relation=table.oid,
        schema_name=table.schema_name,
        table=table.name,
        is_partitioned=table.is_partitioned,
        key=key,
        values=values,
        stored=stored,
        condition=condition,
        can_be_copied_before=bool(key) and is_seen and condition is None,
    )
