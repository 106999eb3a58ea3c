"""What gets another name, while running code still uses the old one."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import actions_matching, matching


@hazard(
    "rename-column",
    "high",
    instead="add the new column, write both, move the readers, drop the old one later",
    unsafe="ALTER TABLE orders RENAME COLUMN mail TO email",
    safe="ALTER TABLE orders ADD COLUMN email text",
)
def rename_column(reading: Reading) -> Iterator[Finding]:
    """A column gets another name."""
    pattern = rf"rename (?!to\b|constraint\b)(?:column )?({NAME}) to ({NAME})"
    for statement, found in actions_matching(reading.statements, pattern):
        yield Finding(
            f"running code that says {statement.table}.{found[1]} fails at once", statement
        )


@hazard(
    "rename-table",
    "high",
    instead="rename it and leave a view of the old name, or expand and contract",
    unsafe="ALTER TABLE orders RENAME TO purchases",
    safe="ALTER TABLE orders RENAME TO purchases; CREATE VIEW orders AS SELECT * FROM purchases",
)
def rename_table(reading: Reading) -> Iterator[Finding]:
    """A table or view gets another name, or moves to another schema."""
    views = {
        plain_name(found[1])
        for _, found in matching(
            reading.statements, rf"create (?:or replace )?view ({NAME}) as select"
        )
    }
    for statement, _ in actions_matching(reading.statements, r"rename to |set schema "):
        yield Finding(
            f"running code that says {statement.table} fails at once",
            statement,
            dismissal="a view keeps the old name" if statement.table in views else None,
        )
    for statement, found in matching(
        reading.statements,
        rf"alter (?:materialized )?view (?:if exists )?({NAME}) (?:rename to|set schema) ",
    ):
        yield Finding(f"running code that says {found[1]} fails at once", statement)


@hazard(
    "rename-schema",
    "high",
    instead="make the new schema and move tables one by one, with views of the old names",
    unsafe="ALTER SCHEMA sales RENAME TO shop",
    safe="CREATE SCHEMA shop",
    is_about_rows=False,
)
def rename_schema(reading: Reading) -> Iterator[Finding]:
    """A schema gets another name."""
    for statement, found in matching(reading.statements, rf"alter schema ({NAME}) rename to "):
        yield Finding(f"running code that says {found[1]} fails at once", statement)


@hazard(
    "rename-enum-value",
    "high",
    instead="add the new value, move the rows in batches, leave the old value unused",
    unsafe="ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
    safe="ALTER TYPE mood ADD VALUE 'fine' AFTER 'ok'",
    is_about_rows=False,
)
def rename_enum_value(reading: Reading) -> Iterator[Finding]:
    """A value of an enum gets another name."""
    pattern = rf"alter type ({NAME}) rename value ('(?:[^']|'')*')"
    for statement, found in matching(reading.statements, pattern):
        yield Finding(f"running code that writes {found[2]} fails at once", statement)
