"""How a row of an archive and the row of its table find each other, as SQL. Pure.

The table is `t`, the archive `a`. With a key that is a plain join. Without one, equal rows are
counted on both sides, and the first is taken for the first: they cannot be told apart anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from tasks.migrations.archive.pieces import Column, Piece
from tasks.migrations.archive.sql import quoted

GONE = "headway_gone"
"""In archives of changed rows: the downgrade deleted the row."""
SAME = "headway_same"
"""In archives of changed rows: the columns that nobody had changed before the upgrade."""
SHOWN_KEYS = 5


def target_of(piece: Piece) -> str:
    """The table itself, without what inherits from it; a partitioned table with its partitions."""
    name = quoted(piece.schema_name, piece.table)
    return name if piece.is_partitioned else f"ONLY {name}"


def archived_values(piece: Piece) -> str:
    """The table's values as they are stored."""
    return ", ".join(_stored(column) for column in piece.stored) or "1 AS headway_nothing"


def archived_columns(piece: Piece) -> str:
    """Names of the archive's columns."""
    return ", ".join(quoted(column.name) for column in piece.stored) or "headway_nothing"


def _stored(column: Column) -> str:
    name = quoted(column.name)
    if column.is_native:
        return f"t.{name}"
    return f'(t.{name}::text COLLATE pg_catalog."default") AS {name}'


def after(column: Column) -> str:
    """Name of the archive's column with what the downgrade left there, as text."""
    # Two long names may begin alike: the column is known by a hash of its own.
    return quoted(f"headway_after_{sha256(column.name.encode()).hexdigest()[:20]}")


def value_of(column: Column, type_now: str) -> str:
    """The archived value, for a column that has this type now."""
    stored = f"a.{quoted(column.name)}"
    return stored if column.is_native and column.type == type_now else f"{stored}::{type_now}"


def text_of_archived(column: Column) -> str:
    """The archived value as text."""
    return f"a.{quoted(column.name)}::text"


def text_now(column: Column, through: Mapping[str, str | None]) -> str:
    """The table's value as text of the type that the column had before the downgrade."""
    name = f"t.{quoted(column.name)}"
    return f"{name}::{column.type}::text" if through.get(column.name) else f"{name}::text"


def text_left(column: Column, through: Mapping[str, str | None]) -> str:
    """What the downgrade left there, as text of the type that the column had before."""
    narrow = through.get(column.name)
    left = f"a.{after(column)}"
    return f"{left}::{narrow}::{column.type}::text" if narrow else left


def joined(piece: Piece) -> str:
    """The condition for a row of the table `t` to be that of the archive's row `a`."""
    if not piece.key:
        return "t.ctid = a.headway_at AND t.tableoid = a.headway_of"
    return " AND ".join(_same(column) for column in piece.match)


def _same(column: Column) -> str:
    name = quoted(column.name)
    return f"t.{name} = a.{name}" if column.is_native else f"t.{name}::text = a.{name}"


def source_of(piece: Piece, archive: str, left: Mapping[str, str | None] | None = None) -> str:
    """The archive as `a`, with its own `headway_row`, in a form that ``joined`` can be applied to.

    ``left``: rows without a key are known also by what the downgrade left in them.
    """
    if piece.key:
        return f"(SELECT ctid AS headway_row, * FROM {archive}) AS a"
    changed = piece.value_columns if left is not None else ()
    of_archive = [text_of_archived(column) for column in piece.match]
    of_archive += [text_left(column, left or {}) for column in changed]
    of_table = [f"t.{quoted(column.name)}::text" for column in (*piece.match, *changed)]
    order = ", ".join(quoted(name) for name in piece.order)
    return (
        f"(SELECT a.*, t.headway_at, t.headway_of FROM "
        f"(SELECT a.ctid AS headway_row, a.*, {_numbered(of_archive, order)} "
        f"FROM {archive} AS a) AS a LEFT JOIN "
        f"(SELECT t.ctid AS headway_at, t.tableoid AS headway_of, {_numbered(of_table, order)} "
        f"FROM {target_of(piece)} AS t) AS t USING (headway_text, headway_number)) AS a"
    )


def _numbered(texts: Sequence[str], order: str) -> str:
    row = f"ROW({', '.join(texts)})::text"
    ordered = f" ORDER BY {order}" if order else ""
    return (
        f"{row} AS headway_text, row_number() OVER (PARTITION BY {row}{ordered}) AS headway_number"
    )


def is_missing(piece: Piece) -> str:
    """The condition for an archive's row `a` to have no row in the table."""
    if not piece.key:
        return "a.headway_at IS NULL"
    return f"NOT EXISTS (SELECT FROM {target_of(piece)} AS t WHERE {joined(piece)})"


def shown_key(piece: Piece, alias: str) -> str:
    """A row's key as text, for a person."""
    names = piece.key
    if not names:
        return "'(a row without a key)'"
    if len(names) == 1:
        return f"{alias}.{quoted(names[0])}::text"
    return f"concat_ws(', ', {', '.join(f'{alias}.{quoted(name)}::text' for name in names)})"


def key_order(piece: Piece, alias: str) -> str:
    """An order by the key, as the key itself is ordered."""
    return ", ".join(f"{alias}.{quoted(name)}" for name in piece.key) or "1"


def any_of(conditions: Iterable[str]) -> str:
    """True where one of the conditions is."""
    return "(" + (" OR ".join(conditions) or "false") + ")"


def all_of(conditions: Iterable[str]) -> str:
    """True where all of the conditions are."""
    return "(" + (" AND ".join(conditions) or "true") + ")"
