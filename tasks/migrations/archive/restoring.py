"""Bring back what a rollback took away, once its revision is applied again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from tasks.migrations.archive import inserting, registry, sequences, surroundings, values
from tasks.migrations.archive.catalogue import read_table
from tasks.migrations.archive.inserting import Inserted, Insertion, NotYet
from tasks.migrations.archive.keeping import checksum_of
from tasks.migrations.archive.model import Restored, RestoredPart, Sample
from tasks.migrations.archive.registry import Entry
from tasks.migrations.archive.sql import EXACT, settled


def restore(connection: Connection, environment: str, revision: str) -> Restored:
    """Bring back what the last rollback of a revision archived; call it right after its upgrade.

    In the transaction of the upgrade's DDL, so both are there or neither. What changed in between
    is reported and never overwritten: values that were changed stay, rows that were deleted are
    not made again, rows that are new keep the default, and what a constraint forbids stays in the
    archive. Users' triggers and rules do not fire. The archive itself stays.

    If the result ``is_pending``, call ``restore_pending`` after the commit: rows use a value of an
    enum that this very transaction has added.
    """
    entries, of_sequences = registry.to_restore(connection, environment, revision)
    if not entries and not of_sequences:
        return Restored(environment=environment, revision=revision)
    parts: list[RestoredPart] = []
    with settled(connection, **EXACT):
        problems = surroundings.before_rows(connection, entries)
        parts += [sequences.restore(connection, *each) for each in of_sequences]
        parts += _restore_pieces(connection, entries)
        for entry, problem in surroundings.after_rows(connection, entries):
            problems.setdefault(entry, []).append(problem)
    parts = [
        part.model_copy(update={"problems": (*part.problems, *problems.get(part.entry, ()))})
        for part in parts
    ]
    for part in parts:
        if not part.is_pending:
            registry.mark_restored(connection, part)
    return Restored(environment=environment, revision=revision, parts=tuple(parts))


def restore_pending(connection: Connection, restored: Restored) -> Restored:
    """Bring back what had to wait for the commit; in a transaction after it."""
    if not restored.is_pending:
        return restored
    later = restore(connection, restored.environment, restored.revision)
    before = tuple(part for part in restored.parts if not part.is_pending)
    return restored.model_copy(update={"parts": (*before, *later.parts)})


def _restore_pieces(connection: Connection, entries: Sequence[Entry]) -> list[RestoredPart]:
    insertions, without = [], []
    for entry in sorted(entries, key=_order):
        table = read_table(connection, (entry.piece.schema_name, entry.piece.table))
        if table is None:
            problem = "the revision no longer makes this table: its rows stay in the archive"
            without.append(_with_problem(entry, problem))
        elif checksum_of(connection, entry) != (entry.rows, entry.checksum):
            problem = "the archive is not what it was (its checksum differs): nothing was put back"
            without.append(_with_problem(entry, problem))
        else:
            insertions.append(Insertion(entry, table))
    whole = [each for each in insertions if each.kind in {"table", "rows"}]
    try:
        inserted = inserting.insert_rows(connection, whole)
    except NotYet:
        insertions = [each for each in insertions if each not in whole]
        without += [_pending(each.entry) for each in whole]
        inserted = {}
    return [*without, *(_put_back(connection, each, inserted) for each in insertions)]


def _put_back(
    connection: Connection, insertion: Insertion, inserted: Mapping[int, Inserted]
) -> RestoredPart:
    try:
        return values.put_back(connection, insertion, inserted.get(insertion.entry.id))
    except NotYet:
        return _pending(insertion.entry)


def _order(entry: Entry) -> tuple[int, int]:
    # A row must be there before its columns are filled.
    return ["table", "rows", "column", "narrowed", "enum"].index(entry.piece.kind), entry.id


def _with_problem(entry: Entry, problem: str) -> RestoredPart:
    left = Sample(count=entry.rows)
    return _part(entry).model_copy(update={"problems": (problem,), "conflicts": left})


def _pending(entry: Entry) -> RestoredPart:
    return _part(entry).model_copy(update={"is_pending": True})


def _part(entry: Entry) -> RestoredPart:
    return RestoredPart(
        entry=entry.id,
        kind=entry.piece.kind,
        schema_name=entry.piece.schema_name,
        table=entry.piece.table,
        columns=entry.piece.values,
    )
