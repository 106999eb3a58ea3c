"""What a revision took away: two looks at the catalogue, and what was measured in between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.archive.model import ColumnName, TableName
from tasks.migrations.rehearsal.measure import Trace
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.migrations.revision_graph.plan import Direction

QUERIES = load_queries(__package__)
_INTEGERS = ("smallint", "integer", "bigint", "numeric")
_TEXTS = re.compile(r"(?:character varying(?:\((?P<length>\d+)\))?|text)$")
_NUMERIC = re.compile(r"numeric\((?P<precision>\d+),(?P<scale>-?\d+)\)$")
_ROWS_CHANGE = "RowExclusiveLock"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Tables, columns, sequences by identity, and the values of enum types, at one moment."""

    tables: Mapping[int, Any]
    columns: Mapping[tuple[int, int], Any]
    sequences: Mapping[int, Any]
    enums: Mapping[tuple[str, str], tuple[str, ...]]


def look(connection: Connection, version_table: str = "alembic_version") -> Catalogue:
    """The catalogue as the connection sees it, in a transaction of its own."""
    with connection.begin():
        tables = connection.execute(QUERIES["tables_now"]).all()
        columns = connection.execute(QUERIES["columns_now"]).all()
        sequences = connection.execute(QUERIES["sequences_now"]).all()
        enums = connection.execute(QUERIES["enums_now"]).all()
    return Catalogue(
        tables={row.oid: row for row in tables if row.table_name != version_table},
        columns={(r.oid, r.number): r for r in columns if r.table_name != version_table},
        sequences={row.oid: row for row in sequences},
        enums={(row.schema_name, row.type_name): tuple(row.labels) for row in enums},
    )


def effect(
    before: Catalogue, after: Catalogue, trace: Trace, revision: str, direction: Direction
) -> RevisionEffect:
    """What is gone, narrower or was written between the two."""
    gone = {oid for oid in before.tables if oid not in after.tables}
    changes = dict(_type_changes(before, after))
    written = set(_written(before, trace))
    return RevisionEffect(
        revision=revision,
        direction=direction,
        dropped_tables=_table_names(before, gone),
        dropped_columns=tuple(sorted(_dropped_columns(before, after, gone))),
        narrowed_columns=tuple(sorted(n for n, types in changes.items() if _narrows(*types))),
        type_changes={".".join(name): types for name, types in sorted(changes.items())},
        dml_tables=_table_names(before, written - gone),
        triggered_tables=_table_names(before, {o for o in written if _has_triggers(before, o)}),
        truncated_tables=_table_names(before, _named(before, _truncated(trace))),
        removed_enum_values=tuple(sorted(_removed_values(before, after))),
        dropped_sequences=tuple(
            sorted(
                (row.schema_name, row.sequence_name)
                for oid, row in before.sequences.items()
                if oid not in after.sequences
            )
        ),
        lock_times=trace.lock_times,
        milliseconds=trace.milliseconds,
    )


def _has_triggers(catalogue: Catalogue, oid: int) -> bool:
    return bool(catalogue.tables[oid].has_triggers)


def _table_names(catalogue: Catalogue, oids: set[int]) -> tuple[TableName, ...]:
    """Their names; a partition whose whole is among them goes with it."""
    rows = [catalogue.tables[oid] for oid in oids if oid in catalogue.tables]
    own = [row for row in rows if row.root == row.oid or row.root not in oids]
    return tuple(sorted((row.schema_name, row.table_name) for row in own))


def _dropped_columns(
    before: Catalogue, after: Catalogue, gone_tables: set[int]
) -> Iterator[ColumnName]:
    for (oid, number), row in before.columns.items():
        is_gone = oid not in gone_tables and (oid, number) not in after.columns
        if is_gone and row.root == oid:
            yield row.schema_name, row.table_name, row.column_name


def _type_changes(
    before: Catalogue, after: Catalogue
) -> Iterator[tuple[ColumnName, tuple[str, str]]]:
    for key, row in before.columns.items():
        now = after.columns.get(key)
        if now is not None and now.type != row.type and row.root == row.oid:
            yield (row.schema_name, row.table_name, row.column_name), (row.type, now.type)


def _narrows(old: str, new: str) -> bool:
    """False only if every value of the old type is one of the new."""
    if old in _INTEGERS and new in _INTEGERS:
        return _INTEGERS.index(new) < _INTEGERS.index(old)
    texts = _TEXTS.match(old), _TEXTS.match(new)
    if texts[0] and texts[1]:
        lengths = [found["length"] for found in texts if found]
        return lengths[1] is not None and int(lengths[1]) < int(lengths[0] or 2**31)
    numbers = _NUMERIC.match(old), _NUMERIC.match(new)
    if numbers[0] and (numbers[1] or new == "numeric"):
        return numbers[1] is not None and not _holds(numbers[1], numbers[0])
    return True


def _holds(wide: re.Match[str], narrow: re.Match[str]) -> bool:
    scale = int(wide["scale"]) - int(narrow["scale"])
    return scale >= 0 and int(wide["precision"]) - int(narrow["precision"]) >= scale


def _written(before: Catalogue, trace: Trace) -> Iterator[int]:
    """Tables whose rows were written, may follow them by a foreign key, or were all removed."""
    names = [
        *(
            name
            for statement in trace.statements
            for name, modes in statement.all_locks.items()
            if _ROWS_CHANGE in modes or name in statement.rows_written
        ),
        *(name for statement in trace.statements for name in statement.rows_written),
        *_truncated(trace),
    ]
    open_ones, known = list(_named(before, names)), set[int]()
    while open_ones:
        oid = open_ones.pop()
        if oid not in known and oid in before.tables:
            known.add(oid)
            open_ones += before.tables[oid].followers
    yield from known


def _truncated(trace: Trace) -> Iterator[str]:
    return (name for statement in trace.statements for name in statement.truncated)


def _named(catalogue: Catalogue, names: Iterable[str]) -> set[int]:
    wanted = set(names)
    return {oid for oid, row in catalogue.tables.items() if row.name in wanted}


def added_values(before: Catalogue, after: Catalogue) -> tuple[tuple[str, str, str], ...]:
    """The values that enums got which were there before."""
    return tuple(_removed_values(after, before))


def _removed_values(before: Catalogue, after: Catalogue) -> Iterator[tuple[str, str, str]]:
    for name, labels in before.enums.items():
        if name in after.enums:
            yield from ((*name, label) for label in labels if label not in after.enums[name])
