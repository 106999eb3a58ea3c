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
    "enum-value-removed",
    "critical",
    instead="leave the value unused; to remove it, first move every row that has it",
    unsafe="ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('ok'); "
    "ALTER TABLE people ALTER COLUMN mood TYPE mood USING mood::text::mood",
    safe="CREATE TYPE mood AS ENUM ('ok', 'calm')",
    is_about_rows=False,
)
def enum_value_removed(reading: Reading) -> Iterator[Finding]:
    """An enum is made anew with fewer values: rows with the others make it fail."""
    for statement, _ in matching(
        reading.statements, r"(?:delete from|update) (?:pg_catalog\.)?pg_enum\b"
    ):
        yield Finding("the catalogue is changed by hand: rows with the value break", statement)
    for statement, _ in matching(reading.statements, rf"alter type {NAME} drop value"):
        yield Finding("Postgres cannot drop a value of an enum", statement)
    made = {
        plain_name(found[1]): (statement, found[2])
        for statement, found in matching(
            reading.statements, rf"create type ({NAME}) as enum \( ?(.*?) ?\)$"
        )
    }
    for _, found in matching(reading.statements, rf"alter type ({NAME}) rename to {NAME}$"):
        name = plain_name(found[1])
        if name in made:
            statement, values = made[name]
            yield from _missing(reading, name, values, statement)


def _missing(reading: Reading, name: str, values: str, statement: Statement) -> Iterator[Finding]:
    known = reading.context.enums.get(name)
    kept = {value.strip().strip("'").replace("''", "'") for value in values.split(" , ")}
    gone = None if known is None else [value for value in known if value not in kept]
    listed = "values may be missing" if gone is None else f"{', '.join(gone)} will be missing"
    yield Finding(
        f"{name} is made anew, and {listed}: it fails while a row has one",
        statement,
        dismissal="every value of the type is in the new one" if gone == [] else None,
    )
