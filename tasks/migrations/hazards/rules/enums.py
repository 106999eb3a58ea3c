"""Enums: values that cannot be used yet, stand somewhere, or go."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import Statement, matching

_ADD_VALUE = rf"alter type ({NAME}) add value (?:if not exists )?('(?:[^']|'')*')"


@hazard(
    "enum-value-used-in-transaction",
    "critical",
    instead="add the value in one revision, use it in the next",
    unsafe="ALTER TYPE mood ADD VALUE 'calm'; UPDATE people SET mood = 'calm' WHERE id = 1",
    safe="ALTER TYPE mood ADD VALUE 'calm'",
    is_about_rows=False,
    fails_anywhere=True,
)
def enum_value_used_in_transaction(reading: Reading) -> Iterator[Finding]:
    """A value cannot be used before the transaction that added it has committed."""
    for together in reading.transactions():
        added: dict[str, str] = {}
        for statement in together:
            is_adding = next(matching((statement,), _ADD_VALUE), None)
            for value in added if is_adding is None else ():
                if value in statement.text:
                    yield Finding(
                        f"{value} of {added[value]} cannot be used before the transaction that "
                        "adds it has committed: it fails",
                        statement,
                    )
            if is_adding and plain_name(is_adding[1][1]) not in _new_types(
                reading, statement.position
            ):
                added[is_adding[1][2]] = is_adding[1][1]


def _new_types(reading: Reading, position: int) -> frozenset[str]:
    return reading.before[position].types


@hazard(
    "enum-value-position",
    "advice",
    instead="say BEFORE or AFTER: values sort in their order",
    unsafe="ALTER TYPE size ADD VALUE 'medium'",
    safe="ALTER TYPE size ADD VALUE 'medium' AFTER 'small'",
    is_about_rows=False,
)
def enum_value_position(reading: Reading) -> Iterator[Finding]:
    """Without a position the value comes last, which cannot be changed later."""
    for statement, found in matching(reading.statements, rf"{_ADD_VALUE}(?! before| after)"):
        yield Finding(f"{found[2]} comes last in {found[1]}, for ever", statement)


@hazard(
    "enum-catalogue-changed",
    "critical",
    instead="make the type anew without the value, after every row that has it was moved",
    unsafe="DELETE FROM pg_enum WHERE enumlabel = 'calm'",
    safe="SELECT enumlabel FROM pg_enum",
    is_about_rows=False,
)
def enum_catalogue_changed(reading: Reading) -> Iterator[Finding]:
    """The catalogue is changed by hand, or by a statement that Postgres does not have."""
    pattern = r"(?:delete from|update) (?:pg_catalog\.)?pg_enum\b"
    for statement, _ in matching(reading.statements, pattern):
        yield Finding("rows and indexes with the value are broken from then on", statement)
    for statement, _ in matching(reading.statements, rf"alter type {NAME} drop value"):
        yield Finding("Postgres cannot drop a value of an enum: it fails", statement)


@hazard(
    "enum-value-removed",
    "critical",
    instead="leave the value unused; to remove it, first move every row that has it (a rollback "
    "does, with --map)",
    unsafe="ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('ok'); "
    "ALTER TABLE people ALTER COLUMN mood TYPE mood USING mood::text::mood",
    safe="CREATE TYPE mood AS ENUM ('ok', 'calm')",
    decided_by="success",
    is_about_rows=False,
)
def enum_value_removed(reading: Reading) -> Iterator[Finding]:
    """An enum is made anew with fewer values: rows with the others make it fail."""
    for name, kept, statement in remade_enums(reading.statements):
        yield _removed(reading, name, kept, statement)


def remade_enums(
    statements: tuple[Statement, ...],
) -> Iterator[tuple[str, set[str], Statement]]:
    """The enums that are renamed and made anew, and the values that they then have."""
    renamed = {
        plain_name(found[1])
        for _, found in matching(statements, rf"alter type ({NAME}) rename to {NAME}$")
    }
    created = rf"create type ({NAME}) as enum \( ?(.*?) ?\)$"
    for statement, found in matching(statements, created):
        if plain_name(found[1]) in renamed:
            kept = {value.strip()[1:-1].replace("''", "'") for value in found[2].split(" , ")}
            yield plain_name(found[1]), kept, statement


def _removed(reading: Reading, name: str, kept: set[str], statement: Statement) -> Finding:
    known = reading.context.enums.get(name)
    gone = [value for value in known or () if value not in kept]
    used = {use.label: use for use in reading.context.enum_uses if use.enum == name}
    listed = ", ".join(
        f"{label} ({used[label].rows} rows of {used[label].table})" if label in used else label
        for label in gone
    )
    is_looked_up = reading.context.are_enum_uses_known
    is_free = known is not None and (not gone or (is_looked_up and not used))
    return Finding(
        f"{name} is made anew without {listed or 'some values'}: it fails while a row has one",
        statement,
        dismissal="no row has a value that goes" if is_free else None,
    )
