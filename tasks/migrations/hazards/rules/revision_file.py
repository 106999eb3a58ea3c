"""What the file shows beside its SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.statements import matching

_DDL = re.compile(r"\b(execute|create|alter|drop|truncate|lock)\b", re.IGNORECASE)


@hazard(
    "irreversible-downgrade",
    "high",
    instead='write the downgrade, or say so in the file: irreversible = "why"',
    unsafe="def downgrade(): pass",
    safe='irreversible = "the old codes are gone"',
    is_for_downgrades=False,
    is_about_rows=False,
)
def irreversible_downgrade(reading: Reading) -> Iterator[Finding]:
    """The revision does something that its downgrade does not undo."""
    revision = reading.revision
    does_something = bool(revision.statements) or not revision.is_readable
    if revision.downgrade == "present" or revision.irreversible or not does_something:
        return
    yield Finding(
        f"the downgrade is {revision.downgrade}: it says done, or fails, and undoes nothing"
    )


@hazard(
    "imports-application",
    "warning",
    instead="describe the tables as they are now with sa.Table in the revision",
    unsafe="from shop.models import Order",
    safe='orders = sa.table("orders", sa.column("id"))',
    is_for_downgrades=False,
    is_about_rows=False,
)
def imports_application(reading: Reading) -> Iterator[Finding]:
    """The revision changes whenever the application does."""
    if reading.revision.imports:
        named = ", ".join(reading.revision.imports)
        yield Finding(f"it imports {named}: when that changes, so does what the revision did")


@hazard(
    "cannot-be-read-statically",
    "warning",
    instead="keep what reads the database in a step of its own; a rehearsal judges what it runs",
    unsafe='for row in op.get_bind().execute("SELECT …"): …',
    safe='op.execute("UPDATE … WHERE …")',
    is_about_rows=False,
)
def cannot_be_read_statically(reading: Reading) -> Iterator[Finding]:
    """What it does depends on the database that it runs on."""
    if not reading.revision.is_readable:
        yield Finding("its SQL depends on the database: only a rehearsal shows what it does")


@hazard(
    "dynamic-ddl",
    "warning",
    instead="write the statements out; a rehearsal shows what it does",
    unsafe="DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'orders'); END $$",
    safe="DO $$ BEGIN PERFORM 1; END $$",
    is_about_rows=False,
)
def dynamic_ddl(reading: Reading) -> Iterator[Finding]:
    """A DO block changes the schema where no rule sees it."""
    for statement, _ in matching(reading.statements, r"do "):
        if found := _DDL.search(statement.sql[2:]):
            yield Finding(
                f"the block says {found[1].upper()}: only a rehearsal shows what it does", statement
            )
