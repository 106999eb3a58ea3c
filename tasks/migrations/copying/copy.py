"""Copy a database into an empty one: the structure, then rows, then what depends on rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from tasks.database import explain, load_queries
from tasks.errors import Reason, Refused
from tasks.migrations import environments
from tasks.migrations.copying import closure, masks, rows
from tasks.migrations.copying.masks import Mask, Masks
from tasks.migrations.copying.rows import Table
from tasks.migrations.copying.structure import CopyFailed, batches, dump_structure

QUERIES = load_queries(__package__)
Data = Literal["full", "sample", "none"]
log = logging.getLogger(__name__)

# Functions and the runner refer to these rows of schema `headway`, whatever else is copied.
_OWN = {"clock", "bootstrap_version", "migration_fence"}
_ARCHIVE = "headway_archive"


class Copied(BaseModel):
    """What was copied: rows by table, and what the copy lacks."""

    model_config = ConfigDict(frozen=True)

    data: Data
    rows: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def row_count(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())


@dataclass(frozen=True, slots=True)
class _Wanted:
    data: Data
    sample_rows: int
    masks: Masks
    version_table: tuple[str | None, str]
    excluded: tuple[str, ...]


def copy_database(
    source_url: str,
    scratch_url: str,
    *,
    data: Data = "full",
    sample_rows: int = 10_000,
    masks: Mapping[str, Mask] | None = None,
    exclude_schemas: Sequence[str] = (),
    version_table: tuple[str | None, str] = (None, "alembic_version"),
) -> Copied:
    """Copy schema and rows of one moment; nothing is written to the source.

    ``data`` is `full`, `sample` (so many rows of each table, and all that these refer to) or
    `none`; the version table is always copied. Large objects and subscriptions are not. What a
    rollback archived comes with `full`, unless something is masked.

    Raises:
        Refused: `other-major-version`, `missing-roles`; the copy would be another database.
        ConfigurationError: a mask does not fit.
        CopyFailed: a part could not be copied.
    """
    with _reading(source_url) as source, _writing(scratch_url) as scratch:
        is_superuser = _require_same_server(source, scratch)
        wanted = _Wanted(
            data,
            sample_rows,
            _resolve(source, masks or {}),
            version_table,
            tuple(exclude_schemas),
        )
        snapshot = str(source.scalar(QUERIES["export_snapshot"]))
        structure = dump_structure(
            source, snapshot, with_owners=is_superuser, excluded=wanted.excluded
        )
        if not source.scalar(QUERIES["has_schema_public"]):
            _send(scratch, "DROP SCHEMA public")
        _build(scratch, structure.before_rows)
        loaded = _load(source, scratch, wanted)
        source.rollback()  # the rest takes long, and needs the source no more
        _build(scratch, structure.after_rows)
        if data != "none":
            _send(scratch, "ANALYZE")
    return Copied(data=data, rows=loaded, notes=_notes(wanted, is_superuser))


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    engine = environments.engine(url, "headway-copy").execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with engine.connect() as connection:
        connection.execute(QUERIES["settle_source"])
        yield connection


@contextmanager
def _writing(url: str) -> Iterator[Connection]:
    engine = environments.engine(url, "headway-copy").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(QUERIES["settle_scratch"])
        yield connection


def _require_same_server(source: Connection, scratch: Connection) -> bool:
    """Another server must be like the first; true if we may do everything there."""
    here, there = (each.execute(QUERIES["server"]).one() for each in (source, scratch))
    known = set(scratch.scalars(QUERIES["known_roles"]))
    missing = [role for role in source.scalars(QUERIES["roles_in_use"]) if role not in known]
    reasons = [_other_major(here, there)] if here.major != there.major else []
    reasons += [_missing_roles(scratch, missing)] if missing else []
    if reasons:
        raise Refused("the rehearsal", reasons)
    return bool(there.is_superuser)


def _other_major(here: Row[tuple[object, ...]], there: Row[tuple[object, ...]]) -> Reason:
    return Reason(
        "other-major-version",
        f"the server for rehearsals has Postgres {there.major}, the environment {here.major}: "
        "locks and rewrites differ between them. Name a server of the same major version "
        "(rehearsal_url), or none, to rehearse on the environment's own",
    )


def _missing_roles(scratch: Connection, missing: Sequence[str]) -> Reason:
    quote = scratch.dialect.identifier_preparer.quote
    statements = " ".join(f"CREATE ROLE {quote(role)};" for role in missing)
    return Reason(
        "missing-roles",
        "objects of the environment belong or are granted to roles that the server for rehearsals "
        f"does not have. Create them there ({statements}), or name no rehearsal_url, to rehearse "
        "on the environment's own server",
    )


def _resolve(source: Connection, named: Mapping[str, Mask]) -> Masks:
    return masks.resolve(source, named)


def _build(scratch: Connection, script: str) -> None:
    for batch in batches(script):
        _send(scratch, batch)
    scratch.execute(QUERIES["settle_scratch"])


def _send(scratch: Connection, script: str) -> None:
    try:
        rows.driver(scratch).execute(script.encode())
    except psycopg.Error as error:
        said = error.diag.message_primary or "the connection was lost"
        raise CopyFailed(f"the structure cannot be made anew: {said}") from error


def _load(source: Connection, scratch: Connection, wanted: _Wanted) -> dict[str, int]:
    loaded: dict[str, int] = {}
    try:
        for table in rows.tables(source, wanted.excluded):
            query = _query(table, wanted)
            if query is not None and table.columns:
                count = rows.transfer(source, scratch, query, table.name, table.columns)
                loaded[table.name] = count
                log.info("copied %s: %d rows", table.name, count)
        if wanted.data == "sample":
            own = (*wanted.excluded, "headway", _ARCHIVE)
            fetched = closure.close(source, scratch, own, wanted.masks)
            log.info("completed the sample: %d rows that it refers to", fetched)
            loaded["(rows that the sample refers to)"] = fetched
        rows.carry_sequences(source, scratch, wanted.excluded)
    except psycopg.Error as error:
        said = error.diag.message_primary or "the connection was lost"
        raise CopyFailed(f"rows cannot be copied: {said}") from error
    except DBAPIError as error:
        raise CopyFailed(f"rows cannot be copied: {explain(error)}") from error
    return loaded


def _query(table: Table, wanted: _Wanted) -> psycopg.sql.Composable | None:
    """What is copied of a table; None if nothing is."""
    schema, name = wanted.version_table
    is_version_table = table.table_name == name and schema in (None, table.schema_name)
    if is_version_table or (table.schema_name == "headway" and table.table_name in _OWN):
        return rows.everything(table, {})
    if table.schema_name == _ARCHIVE or (table.schema_name, table.table_name) == (
        "headway",
        "archive",
    ):
        is_whole = wanted.data == "full" and not wanted.masks
        return rows.everything(table, {}) if is_whole else None
    if table.schema_name == "headway" or wanted.data == "none":
        return None
    if wanted.data == "sample":
        return rows.some(table, wanted.masks, wanted.sample_rows)
    return rows.everything(table, wanted.masks)


def _notes(wanted: _Wanted, is_superuser: bool) -> tuple[str, ...]:
    found = ["large objects and subscriptions are not copied"]
    if not is_superuser:
        found.append("owners, grants and publications are not copied: the role is no superuser")
    if wanted.data != "full" or wanted.masks:
        found.append("what rollbacks archived is not copied")
    return tuple(found)
