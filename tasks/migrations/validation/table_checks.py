"""Validates the rows of tables that a migration has changed, where a suite describes them."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

import expectations
from tasks import validation
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import Fingerprint, compare
from tasks.validation import ValidationSummary


def changed_tables(before: Fingerprint, after: Fingerprint) -> frozenset[str]:
    """Tables (`schema.name`) of which anything was added, removed or changed; not those gone."""
    tables = set()
    for difference in compare(before, after):
        for side in (before, after):
            tables |= set(_tables_of(side, difference.object))
    there = {key.partition(" ")[2] for key in after.objects if key.startswith("table ")}
    return frozenset(tables & there)


def _tables_of(fingerprint: Fingerprint, key: str) -> Iterator[str]:
    following = key
    while following in fingerprint.objects:
        kind, _, name = following.partition(" ")
        if kind == "table":
            yield name
        following = fingerprint.objects[following].get("of", "")


def validate(
    connection: Connection, target: Target, tables: frozenset[str]
) -> tuple[ValidationSummary, ...]:
    """Run the suites of these tables, as far as they have one, and rows.

    The library behind it is loaded only if one has.
    """
    default = str(connection.scalar(sa.text("SELECT current_schema()")))
    named = [
        name
        for name in expectations.suites.names()
        if f"{default}.{expectations.suites.get(name).table}" in tables
        and _has_rows(connection, expectations.suites.get(name).table)
    ]
    return validation.validate_tables(target.url, named) if named else ()


def _has_rows(connection: Connection, table: str) -> bool:
    rows = sa.select(sa.literal(1)).select_from(sa.table(table))
    return bool(connection.scalar(sa.select(sa.exists(rows))))
