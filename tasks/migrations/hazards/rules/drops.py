"""What is taken away: tables, schemas, columns, rows of whole tables, constraints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks.migrations.hazards.reading import Context, Dependent, Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import Statement, actions_matching, matching

_DROP_COLUMN = rf"drop (?!constraint\b|expression\b)(?:column )?(?:if exists )?(?P<column>{NAME})"


@hazard(
    "drop-table",
    "high",
    instead="stop using it, release, then drop it later; archive its rows first",
    unsafe="DROP TABLE orders",
    safe="COMMENT ON TABLE orders IS 'unused since release 41'",
    is_for_downgrades=False,
)
def drop_table(reading: Reading) -> Iterator[Finding]:
    """A table goes, with its rows."""
    for statement, _ in matching(reading.statements, r"drop (?:foreign )?table "):
        names = ", ".join(statement.tables)
        yield Finding(f"{names} goes with all its rows; whoever still uses it fails", statement)


@hazard(
    "drop-schema",
    "high",
    instead="move or drop its objects one by one, by name, in earlier revisions",
    unsafe="DROP SCHEMA sales",
    safe="DROP VIEW sales.totals",
    is_for_downgrades=False,
)
def drop_schema(reading: Reading) -> Iterator[Finding]:
    """A schema goes."""
    for statement, found in matching(reading.statements, r"drop (schema|owned by) "):
        what = "a schema" if found[1] == "schema" else "all that the role owns"
        yield Finding(f"{what} goes; whoever still uses it fails", statement)


@hazard(
    "drop-column",
    "high",
    instead="stop reading and writing it, release, then drop it later; archive its values first",
    unsafe="ALTER TABLE orders DROP COLUMN note",
    safe="ALTER TABLE orders ALTER COLUMN note DROP DEFAULT",
    decided_by="values",
    is_for_downgrades=False,
)
def drop_column(reading: Reading) -> Iterator[Finding]:
    """A column goes, with its values."""
    for statement, name in dropped_columns(reading.statements):
        column = reading.context.column(statement.table, name)
        has_values = column.has_values if column else None
        is_free = not _dependents(reading.context, statement.table, name)
        yield Finding(
            f"{statement.table}.{name} goes with its values; running code that names it fails",
            statement,
            dismissal="no row has a value in it, and nothing in the database depends on it"
            if has_values is False and is_free
            else None,
            confirmation="rows have values in it" if has_values else None,
        )


@hazard(
    "drop-has-dependents",
    "critical",
    instead="change or drop the dependents by name first, in the same revision",
    unsafe="ALTER TABLE orders DROP COLUMN note",
    safe="DROP VIEW notes; ALTER TABLE orders DROP COLUMN note",
    is_about_rows=False,
    decided_by="success",
)
def drop_has_dependents(reading: Reading) -> Iterator[Finding]:
    """The catalogue knows of views or others that use what goes."""
    for statement in reading.statements:
        for what, dependents in _used(reading, statement):
            listed = ", ".join(f"{each.kind} {each.name}" for each in dependents)
            yield Finding(f"{what} is used by {listed}: the drop fails without them", statement)


def _used(reading: Reading, statement: Statement) -> Iterator[tuple[str, tuple[Dependent, ...]]]:
    for _, name in dropped_columns((statement,)):
        used = _remaining(reading, statement, _dependents(reading.context, statement.table, name))
        if used:
            yield f"{statement.table}.{name}", used
    if statement.text.startswith("drop table "):
        for table in statement.tables:
            all_of_it = tuple(d for d in reading.context.dependents if d.table == table)
            if used := _remaining(reading, statement, all_of_it):
                yield table, used


def dropped_columns(statements: Sequence[Statement]) -> Iterator[tuple[Statement, str]]:
    """The columns that the statements drop."""
    for statement, found in actions_matching(tuple(statements), _DROP_COLUMN):
        yield statement, plain_name(found["column"])


def _dependents(context: Context, table: str | None, column: str) -> tuple[Dependent, ...]:
    return tuple(d for d in context.dependents if d.table == table and d.column == column)


def _remaining(
    reading: Reading, statement: Statement, dependents: tuple[Dependent, ...]
) -> tuple[Dependent, ...]:
    """Those that the plan has not dropped before, by themselves or with their table."""
    going = set(reading.before[statement.position].gone)
    if statement.text.startswith("drop table "):
        going |= set(statement.tables)
    unique = {(d.kind, d.name): d for d in dependents if not going & set(_with_owner(d.name))}
    return tuple(unique.values())


def _with_owner(name: str) -> tuple[str, str, str]:
    """The name, a function's without its arguments, and the table's whose constraint it is."""
    return name, name.partition("(")[0], name.rpartition(".")[0]


@hazard(
    "drop-cascade",
    "critical",
    instead="drop the dependents by name first, so that a reader sees what goes",
    unsafe="DROP VIEW totals CASCADE",
    safe="DROP VIEW totals_by_day; DROP VIEW totals",
    is_about_rows=False,
)
def drop_cascade(reading: Reading) -> Iterator[Finding]:
    """CASCADE takes things away that nobody named."""
    message = "CASCADE drops whatever depends on it, unnamed and unseen"
    for statement, _ in matching(reading.statements, r"drop (?!index).* cascade$"):
        yield Finding(message, statement)
    for statement, _ in actions_matching(reading.statements, r"drop .* cascade$"):
        yield Finding(message, statement)


@hazard(
    "truncate",
    "critical",
    instead="delete in batches by key, each its own transaction; name every table",
    unsafe="TRUNCATE sessions",
    safe="DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE done LIMIT 5000)",
)
def truncate(reading: Reading) -> Iterator[Finding]:
    """All rows go at once, with CASCADE those of other tables too."""
    for statement, _ in matching(reading.statements, r"truncate "):
        others = " and of every table that refers to it" * statement.text.endswith(" cascade")
        yield Finding(f"all rows of {', '.join(statement.tables)}{others} go at once", statement)


@hazard(
    "drop-primary-key",
    "high",
    instead="give the table another replica identity first, and the new key in the same revision",
    unsafe="ALTER TABLE orders DROP CONSTRAINT orders_pkey",
    safe="ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_new_key; "
    "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
    is_for_downgrades=False,
)
def drop_primary_key(reading: Reading) -> Iterator[Finding]:
    """Without a key, a replicated table refuses updates and deletes."""
    kept = {s.table for s, _ in actions_matching(reading.statements, r"replica identity (?!not)")}
    for statement, found in actions_matching(reading.statements, _DROP_CONSTRAINT):
        if _is_primary_key(reading, statement, found[1]) and statement.table not in kept:
            yield Finding(
                f"{statement.table} loses its key: where it is replicated, every UPDATE and "
                "DELETE fails from then on",
                statement,
            )


_DROP_CONSTRAINT = rf"drop constraint (?:if exists )?({NAME})"


def _is_primary_key(reading: Reading, statement: Statement, constraint: str) -> bool:
    known = reading.context.tables.get(statement.table or "")
    if known:
        return known.primary_key == plain_name(constraint)
    return plain_name(constraint).rstrip('"').endswith(("_pkey", "_pk"))


@hazard(
    "drop-constraint",
    "warning",
    instead="make sure that nothing relies on it: what it kept out can now come in",
    unsafe="ALTER TABLE orders ALTER COLUMN note DROP NOT NULL",
    safe="ALTER TABLE orders ADD CONSTRAINT positive CHECK (qty > 0) NOT VALID; "
    "ALTER TABLE orders DROP CONSTRAINT positive",
    is_for_downgrades=False,
)
def drop_constraint(reading: Reading) -> Iterator[Finding]:
    """A constraint, a default or NOT NULL goes."""
    for statement, found in actions_matching(reading.statements, _DROP_CONSTRAINT):
        is_known = reading.knows_constraint(found[1], statement)
        yield Finding(
            f"{statement.table} loses the constraint {found[1]}",
            statement,
            dismissal="this plan has added it" if is_known else None,
        )
    pattern = rf"alter (?:column )?({NAME}) drop (not null|default)"
    for statement, found in actions_matching(reading.statements, pattern):
        yield Finding(f"{statement.table}.{found[1]} loses its {found[2].upper()}", statement)
