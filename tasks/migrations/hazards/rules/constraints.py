"""Constraints that are checked on every row while the table is locked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import ADD_COLUMN, actions_matching

_ADD = rf"add (?:constraint (?P<name>{NAME}) )?"
_NOT_VALID = r"(?!.* not valid)"


@hazard(
    "set-not-null",
    "high",
    instead="CHECK (c IS NOT NULL) NOT VALID, validate it later, SET NOT NULL, drop the check",
    unsafe="ALTER TABLE orders ALTER COLUMN note SET NOT NULL",
    safe="ALTER TABLE orders ADD CONSTRAINT has_note CHECK (note IS NOT NULL) NOT VALID; COMMIT; "
    "BEGIN; ALTER TABLE orders VALIDATE CONSTRAINT has_note; COMMIT; "
    "BEGIN; ALTER TABLE orders ALTER COLUMN note SET NOT NULL",
    decided_by="time",
)
def set_not_null(reading: Reading) -> Iterator[Finding]:
    """NOT NULL is proven by reading every row, while nobody can read or write."""
    pattern = rf"alter (?:column )?({NAME}) set not null"
    for statement, found in actions_matching(reading.statements, pattern):
        column = plain_name(found[1])
        known = reading.context.column(statement.table, column)
        is_proven = (statement.table, column) in reading.before[statement.position].proven
        if is_proven or (known and (known.is_proven_not_null or not known.is_nullable)):
            dismissal = "a check that was validated before says the same, or it is NOT NULL already"
        else:
            dismissal = None
        yield Finding(
            f"every row of {statement.table} is read to see that {found[1]} has a value, and "
            "nobody can read or write meanwhile",
            statement,
            dismissal=dismissal,
        )


@hazard(
    "check-without-not-valid",
    "high",
    instead="ADD … NOT VALID, and VALIDATE CONSTRAINT in a later revision",
    unsafe="ALTER TABLE orders ADD CONSTRAINT positive CHECK (qty > 0)",
    safe="ALTER TABLE orders ADD CONSTRAINT positive CHECK (qty > 0) NOT VALID",
    decided_by="time",
)
def check_without_not_valid(reading: Reading) -> Iterator[Finding]:
    """A check of all rows, while nobody can read or write."""
    pattern = rf"{_ADD}(?:check \(|not null ){_NOT_VALID}"
    for statement, _ in actions_matching(reading.statements, pattern):
        yield Finding(
            f"every row of {statement.table} is checked, and nobody can read or write meanwhile",
            statement,
        )
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        if re.search(r"\bcheck \(", found["rest"]):
            yield Finding(
                f"every row of {statement.table} is checked for the new {found['column']}, and "
                "nobody can read or write meanwhile",
                statement,
            )


@hazard(
    "foreign-key-without-not-valid",
    "high",
    instead="ADD … NOT VALID, and VALIDATE CONSTRAINT in a later revision",
    unsafe="ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id)",
    safe="ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
    decided_by="time",
)
def foreign_key_without_not_valid(reading: Reading) -> Iterator[Finding]:
    """A foreign key that is checked for all rows, while nobody can write to either table."""
    pattern = rf"{_ADD}foreign key .*?references (?P<other>{NAME}){_NOT_VALID}"
    for statement, found in actions_matching(reading.statements, pattern):
        yield Finding(
            f"every row of {statement.table} is looked up in {found['other']}, and nobody can "
            "write to either meanwhile",
            statement,
        )
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        other = re.search(rf"\breferences ({NAME})", found["rest"])
        is_empty = not re.search(r"\bdefault (?!null\b)", found["rest"])
        if other:
            yield Finding(
                f"every new {found['column']} of {statement.table} is looked up in {other[1]}, "
                "and nobody can write to either meanwhile",
                statement,
                dismissal="the new column is empty: nothing is looked up" if is_empty else None,
            )


@hazard(
    "validate-in-same-transaction",
    "warning",
    instead="VALIDATE CONSTRAINT in a revision of its own",
    unsafe="ALTER TABLE orders ADD CONSTRAINT positive CHECK (qty > 0) NOT VALID; "
    "ALTER TABLE orders VALIDATE CONSTRAINT positive",
    safe="ALTER TABLE orders ADD CONSTRAINT positive CHECK (qty > 0) NOT VALID; COMMIT; "
    "BEGIN; ALTER TABLE orders VALIDATE CONSTRAINT positive",
)
def validate_in_same_transaction(reading: Reading) -> Iterator[Finding]:
    """The strong lock of the ADD is held while all rows are checked."""
    for together in reading.transactions():
        added = {
            plain_name(found[1])
            for _, found in actions_matching(together, rf"add constraint ({NAME}) .* not valid")
        }
        for statement, found in actions_matching(together, rf"validate constraint ({NAME})"):
            if plain_name(found[1]) in added:
                yield Finding(
                    f"the lock that adding {found[1]} took on {statement.table} is held while "
                    "every row is checked: NOT VALID gained nothing",
                    statement,
                )


@hazard(
    "unique-by-build",
    "high",
    instead="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX",
    unsafe="ALTER TABLE users ADD CONSTRAINT one_mail UNIQUE (mail)",
    safe="ALTER TABLE users ADD CONSTRAINT one_mail UNIQUE USING INDEX users_mail",
    decided_by="time",
)
def unique_by_build(reading: Reading) -> Iterator[Finding]:
    """The index of a unique or primary key is built while nobody can read or write."""
    pattern = rf"{_ADD}(?P<kind>unique|primary key)(?: nulls (?:not )?distinct)? \("
    for statement, found in actions_matching(reading.statements, pattern):
        yield Finding(
            f"the index of the {found['kind']} is built while nobody can read or write "
            f"{statement.table}",
            statement,
        )
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        if kind := re.search(r"\b(unique|primary key)\b", found["rest"]):
            yield Finding(
                f"the index of the {kind[1]} is built while nobody can read or write "
                f"{statement.table}",
                statement,
            )


@hazard(
    "primary-key-on-nullable",
    "warning",
    instead="NOT NULL by a validated check first: then the key needs no look at the rows",
    unsafe="ALTER TABLE orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_id",
    safe="ALTER TABLE orders ALTER COLUMN id SET NOT NULL; "
    "ALTER TABLE orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_id",
    decided_by="time",
)
def primary_key_on_nullable(reading: Reading) -> Iterator[Finding]:
    """A primary key on nullable columns reads every row while nobody can."""
    required = {s.table for s, _ in actions_matching(reading.statements, r"alter .* set not null")}
    for statement, _ in actions_matching(reading.statements, rf"{_ADD}primary key using index"):
        known = reading.context.tables.get(statement.table or "")
        if statement.table in required:
            continue
        has_nullable = known is None or any(c.is_nullable for c in known.columns.values())
        if has_nullable:
            yield Finding(
                f"where a column of the key is nullable, every row of {statement.table} is read "
                "to make it NOT NULL, and nobody can read or write meanwhile",
                statement,
            )


@hazard(
    "exclusion-constraint",
    "high",
    instead="a new table with the constraint and the rows copied, or a maintenance window",
    unsafe="ALTER TABLE stays ADD EXCLUDE USING gist (during WITH &&)",
    safe="CREATE TABLE stays_new (during tstzrange, EXCLUDE USING gist (during WITH &&))",
    decided_by="time",
)
def exclusion_constraint(reading: Reading) -> Iterator[Finding]:
    """Exclusion constraints know neither NOT VALID nor CONCURRENTLY."""
    for statement, _ in actions_matching(reading.statements, rf"{_ADD}exclude "):
        yield Finding(
            f"the index of the constraint is built while nobody can read or write "
            f"{statement.table}",
            statement,
        )
