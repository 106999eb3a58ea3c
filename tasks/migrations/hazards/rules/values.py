"""New columns whose values make the table be written anew, and types better not chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, split_at_commas
from tasks.migrations.hazards.statements import ADD_COLUMN, Statement, actions_matching

# Functions whose value Postgres may compute once for all rows: they are not volatile.
_STABLE = re.compile(
    r"abs|array|bit|cast|char|coalesce|concat|current_(?:date|setting|timestamp)|date_trunc|"
    r"decimal|(?:int[48]|num|date|ts|tstz)range|interval|jsonb?_build_(?:array|object)|length|"
    r"(?:local|statement_|transaction_)?timestamp|lower|make_(?:date|interval)|md5|now|numeric|"
    r"point|round|row|time|timezone|to_(?:jsonb|timestamp)|upper|varchar"
)
_COLUMN = re.compile(
    r"(?!constraint\b|primary key\b|unique\b|check\b|foreign key\b|exclude\b|like\b)"
    rf"({NAME}) (.+)"
)
_CALL = re.compile(r"([a-z_][\w.]*) \(")
_DEFAULT = re.compile(
    r"\bdefault (?P<value>.+?)(?= not null| null\b| unique| primary key| references | check "
    r"| constraint | collate |$)"
)


def _calls(rest: str) -> tuple[str, ...]:
    """The functions that a column's DEFAULT calls."""
    found = _DEFAULT.search(rest)
    if found is None or " generated " in f" {rest}":
        return ()
    return tuple(name.removeprefix("pg_catalog.") for name in _CALL.findall(found["value"]))


@hazard(
    "volatile-default",
    "high",
    instead="add the column without it, set the default, then fill the old rows in batches",
    unsafe="ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()",
    safe="ALTER TABLE orders ADD COLUMN token uuid; "
    "ALTER TABLE orders ALTER COLUMN token SET DEFAULT gen_random_uuid()",
    decided_by="rewrite",
)
def volatile_default(reading: Reading) -> Iterator[Finding]:
    """A default that differs from row to row makes the table be written anew."""
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        calls = _calls(found["rest"])
        volatile = [name for name in calls if not _STABLE.fullmatch(name)]
        for name in (volatile or calls)[:1]:
            yield Finding(
                f"{name}() may give each row of {statement.table} another value: the whole "
                "table is written anew, and nobody can read it meanwhile",
                statement,
                dismissal=None if volatile else "it is computed once, for all rows",
            )


@hazard(
    "stored-generated-column",
    "high",
    instead="add a plain column with a trigger and fill it in batches, or compute it in a view",
    unsafe="ALTER TABLE lines ADD COLUMN total numeric GENERATED ALWAYS AS (qty * price) STORED",
    safe="CREATE VIEW totals AS SELECT id, qty * price AS total FROM lines",
    decided_by="rewrite",
)
def stored_generated_column(reading: Reading) -> Iterator[Finding]:
    """A stored generated column makes the table be written anew."""
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        if re.search(r"\bgenerated always as \(.*\) stored", found["rest"]):
            yield Finding(
                f"the whole table {statement.table} is written anew to store {found['column']}",
                statement,
            )


@hazard(
    "serial-or-identity",
    "high",
    instead="add a nullable bigint, make a sequence its default, fill the old rows in batches",
    unsafe="ALTER TABLE orders ADD COLUMN number bigserial",
    safe="ALTER TABLE orders ADD COLUMN number bigint; "
    "ALTER TABLE orders ALTER COLUMN number SET DEFAULT nextval('numbers')",
    decided_by="rewrite",
)
def serial_or_identity(reading: Reading) -> Iterator[Finding]:
    """A new numbered column makes the table be written anew."""
    pattern = r"(?:small|big)?serial\d?\b|.*\bgenerated (?:always|by default) as identity"
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        if re.match(pattern, found["rest"]):
            yield Finding(
                f"every row of {statement.table} gets its number in {found['column']} now: the "
                "whole table is written anew",
                statement,
            )


@hazard(
    "not-null-without-default",
    "critical",
    instead="add it nullable, fill it in batches, then NOT NULL by a validated check",
    unsafe="ALTER TABLE orders ADD COLUMN region text NOT NULL",
    safe="ALTER TABLE orders ADD COLUMN region text",
)
def not_null_without_default(reading: Reading) -> Iterator[Finding]:
    """A required column without a value for the rows that are there: it fails on any row."""
    has_value = r"\bdefault\b|\bgenerated\b|^(?:small|big)?serial\d?\b"
    for statement, found in actions_matching(reading.statements, ADD_COLUMN):
        required = re.search(r"\bnot null\b|\bprimary key\b", found["rest"])
        if required and not re.search(has_value, found["rest"]):
            empty = bool(statement.table and reading.context.is_empty(statement.table))
            yield Finding(
                f"the rows of {statement.table} have no value for {found['column']}: it fails as "
                "soon as there is one row",
                statement,
                dismissal=f"{statement.table} is empty" if empty else None,
            )


def _columns(statement: Statement) -> Iterator[tuple[str, str]]:
    """The columns that a statement brings, with the rest of their definition."""
    for _, found in actions_matching((statement,), ADD_COLUMN):
        yield found["column"], found["rest"]
    body = re.match(rf"create .*?table (?:if not exists )?{NAME} \( (.*) \)", statement.text)
    if statement.created_table and body:
        for part in split_at_commas(body[1]):
            if column := _COLUMN.match(part):
                yield column[1], column[2]


def _of_type(reading: Reading, pattern: str, message: str) -> Iterator[Finding]:
    for statement in reading.statements:
        for name, rest in _columns(statement):
            if re.match(pattern, rest):
                yield Finding(f"{name}: {message}", statement)


@hazard(
    "json-column", "advice",
    instead="jsonb",
    unsafe="ALTER TABLE orders ADD COLUMN extra json",
    safe="ALTER TABLE orders ADD COLUMN extra jsonb",
    is_about_rows=False,
)  # fmt: skip
def json_column(reading: Reading) -> Iterator[Finding]:
    """Columns of type json cannot be compared."""
    yield from _of_type(reading, r"json\b", "json has no equality: DISTINCT and GROUP BY fail")


@hazard(
    "char-column", "advice",
    instead="text, with a CHECK of its length where that matters",
    unsafe="ALTER TABLE orders ADD COLUMN code char(4)",
    safe="ALTER TABLE orders ADD COLUMN code text",
    is_about_rows=False,
)  # fmt: skip
def char_column(reading: Reading) -> Iterator[Finding]:
    """Columns of type char(n) are padded."""
    yield from _of_type(reading, r"(?:char|character)(?! varying)\b", "char(n) pads with spaces")


@hazard(
    "timestamp-column", "advice",
    instead="timestamptz",
    unsafe="ALTER TABLE orders ADD COLUMN paid_at timestamp",
    safe="ALTER TABLE orders ADD COLUMN paid_at timestamptz",
    is_about_rows=False,
)  # fmt: skip
def timestamp_column(reading: Reading) -> Iterator[Finding]:
    """Times without a time zone mean another moment to each reader."""
    pattern = r"timestamp\b(?: \( \d \))?(?! ?\(| with time zone)"
    yield from _of_type(reading, pattern, "a time without its zone is ambiguous")


@hazard(
    "small-key", "advice",
    instead="bigint",
    unsafe="CREATE TABLE orders (id serial PRIMARY KEY)",
    safe="CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
    is_about_rows=False,
)  # fmt: skip
def small_key(reading: Reading) -> Iterator[Finding]:
    """Keys of 32 bits run out."""
    for statement in reading.statements:
        keys = re.search(r"[(,] (?:constraint \S+ )?primary key \( ([^)]*) \)", statement.text)
        named = {keys[1]} if keys else set()  # several together seldom run out
        for name, rest in _columns(statement):
            is_small = re.match(r"(?:int|integer|int4|int2|smallint|serial|smallserial)\b", rest)
            if is_small and (name in named or " primary key" in rest):
                yield Finding(f"{name}: the numbers of a key of this type run out", statement)


@hazard(
    "long-name", "advice",
    instead="a name of at most 63 bytes",
    unsafe=f"CREATE TABLE {'orders_' * 10} (id bigint)",
    safe="CREATE TABLE orders (id bigint)",
    is_about_rows=False,
)  # fmt: skip
def long_name(reading: Reading) -> Iterator[Finding]:
    """Names beyond 63 bytes are cut, silently."""
    for statement in reading.statements:
        without_texts = re.sub(r"'(?:[^']|'')*'", "''", statement.text)
        for name in re.findall(r'"[^"]+"|[^\W\d][\w$]*', without_texts):
            if len(name.strip('"').encode()) > 63:
                yield Finding(f"{name} is longer than 63 bytes: it is cut, silently", statement)
