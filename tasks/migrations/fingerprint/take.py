"""Read the fingerprint of a database: a handful of queries on the catalogue, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.fingerprint.assembly import Identity, Row, assemble
from tasks.migrations.fingerprint.model import Fingerprint, kind_of, name_of

QUERIES = load_queries(__package__)
VERSION_TABLE = (None, "alembic_version")
# In this order: what others are part of comes before them.
_KINDS = (
    "schemas",
    "relations",
    "columns",
    "constraints",
    "indexes",
    "sequences",
    "functions",
    "triggers",
    "rules",
    "policies",
    "types",
    "extensions",
    "extended_statistics",
    "default_privileges",
    "event_triggers",
    "other_objects",
)


def take(
    connection: Connection,
    *,
    schemas: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    version_table: tuple[str | None, str] = VERSION_TABLE,
) -> Fingerprint:
    """The fingerprint of the schemas (default: all that users made, without Headway's own).

    In the caller's transaction if there is one, so it sees what that did; the session's settings
    stay as they are. ``ignore`` are patterns (`public.legacy_*`) of names that belong to others.
    """
    with _settled(connection):
        surroundings = connection.execute(
            QUERIES["surroundings"], {"schemas": None if schemas is None else list(schemas)}
        ).one()
        default_schema = surroundings.default_schema
        connection.execute(QUERIES["settle_session"])
        rows = list(_rows(connection, list(surroundings.namespaces)))
        comments = _texts(connection, "comments")
        grants = _texts(connection, "grants", namespaces=list(surroundings.namespaces))
    left_out = (version_table[0] or default_schema, version_table[1])
    objects = assemble(rows, comments, grants, version_table=left_out)
    return Fingerprint(
        server_major=surroundings.server_major, objects=_without(objects, tuple(ignore))
    )


@contextmanager
def _settled(connection: Connection) -> Iterator[None]:
    """A savepoint (or transaction) that is rolled back: it takes the settings back with it."""
    is_callers = connection.in_transaction()
    raw: Any = connection.connection.driver_connection
    try:
        with raw.transaction(force_rollback=True):
            yield
    finally:
        if not is_callers:
            connection.rollback()


def _rows(connection: Connection, namespaces: Sequence[int]) -> Iterator[Row]:
    for name in _KINDS:
        for row in connection.execute(QUERIES[name], {"namespaces": namespaces}).mappings():
            yield dict(row)


def _texts(connection: Connection, name: str, **parameters: Any) -> dict[Identity, Any]:
    return {
        (row[0], row[1], row[2]): row[3] for row in connection.execute(QUERIES[name], parameters)
    }


def _without(
    objects: Mapping[str, dict[str, Any]], patterns: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    if not patterns:
        return dict(objects)
    return {
        key: found
        for key, found in objects.items()
        if not any(_is_ignored(each, patterns) for each in _with_owners(objects, key))
    }


def _with_owners(objects: Mapping[str, dict[str, Any]], key: str) -> Iterator[str]:
    following = key
    while following in objects:
        yield following
        following = objects[following].get("of", "")


def _is_ignored(key: str, patterns: tuple[str, ...]) -> bool:
    name = name_of(key)
    unqualified = name.partition(".")[2] if kind_of(key) != "schema" else ""
    return any(
        fnmatchcase(candidate, pattern)
        for pattern in patterns
        for candidate in (key, name, unqualified)
    )
