"""Bring back what a rollback took away, once its revision is applied again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.migrations.archive import inserting, registry, sequences, surroundings, values
from tasks.migrations.archive.catalogue import read_table
from tasks.migrations.archive.inserting import Insertion
from tasks.migrations.archive.model import Restored, RestoredPart
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.sql import EXACT, settled


def restore(connection: Connection, environment: str, revision: str) -> Restored:
    """Bring back what the last rollback of a revision archived; call it right after its upgrade.

    In the transaction of the upgrade's DDL, so both are there or neither. What changed in between
    is reported and never overwritten: values that were changed stay, rows that were deleted are
    not made again, rows that are new keep the default, and what a constraint forbids stays in the
    archive. Users' triggers and rules do not fire. The archive itself stays.
    """
    entries, of_sequences = registry.to_restore(connection, environment, revision)
    parts: list[RestoredPart] = []
    with settled(connection, **EXACT):
        problems = surroundings.before_rows(connection, entries)
        parts += _restore_pieces(connection, entries)
        parts += [sequences.restore(connection, *each) for each in of_sequences]
        for entry, problem in surroundings.after_rows(connection, entries):
            problems.setdefault(entry, []).append(problem)
    parts = [
        part.model_copy(update={"problems": (*part.problems, *problems.get(part.entry, ()))})
        for part in parts
    ]
    for part in parts:
        registry.mark_restored(connection, part)
    return Restored(environment=environment, revision=revision, parts=tuple(parts))


def _restore_pieces(connection: Connection, entries: Sequence[Entry]) -> list[RestoredPart]:
    insertions, without = [], []
    for entry in sorted(entries, key=_order):
        table = read_table(connection, (entry.piece.schema_name, entry.piece.table))
        if table is None:
            without.append(_without_table(entry))
        else:
            insertions.append(Insertion(entry, table))
    inserted = inserting.insert_rows(
        connection, [each for each in insertions if each.kind in {"table", "rows"}]
    )
    put_back = [
        values.put_back(connection, each, inserted.get(each.entry.id)) for each in insertions
    ]
    return [*without, *put_back]


def _order(entry: Entry) -> tuple[int, int]:
    # A row must be there before its columns are filled.
    return ["table", "rows", "column", "narrowed", "enum"].index(entry.piece.kind), entry.id


def _without_table(entry: Entry) -> RestoredPart:
    return RestoredPart(
        entry=entry.id,
        kind=entry.piece.kind,
        schema_name=entry.piece.schema_name,
        table=entry.piece.table,
        columns=entry.piece.values,
        problems=("the revision no longer makes this table: its rows stay in the archive",),
    )
