"""What the role lacks of what pending statements need. Reads the catalogue only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.hazards.model import RevisionSql
from tasks.migrations.preflight.judge import Extension, MissingRight
from tasks.migrations.preflight.rights import Need, needs
from tasks.migrations.project import Project

QUERIES = load_queries(__package__, "preflight.sql")


def missing_rights(
    connection: Connection, project: Project, revisions: Sequence[RevisionSql]
) -> tuple[MissingRight, ...]:
    """What the role lacks for the statements, and for the version table; each once."""
    wanted = _once((*needs(revisions), *_for_version_table(connection, project)))
    schemas = {schema: need for need in reversed(wanted) if (schema := _schema_of(need))}
    closed = {
        row.name: _missing(schemas[row.name], row.owner, kind="usage", name=row.name)
        for row in connection.execute(QUERIES["schemas_closed"], {"names": list(schemas)})
    }
    wanted = [need for need in wanted if _schema_of(need) not in closed]
    lists = {
        "kinds": [need.kind for need in wanted],
        "names": [need.name for need in wanted],
        "rights": [need.right for need in wanted],
    }
    default = str(connection.scalar(QUERIES["default_schema"]))
    found = (
        _missing(wanted[row.place], row.owner, name=wanted[row.place].name or default)
        for row in connection.execute(QUERIES["missing_rights"], lists)
    )
    return (*closed.values(), *found)


def extensions(connection: Connection, revisions: Sequence[RevisionSql]) -> tuple[Extension, ...]:
    """The extensions that the statements create, and whether that is possible here."""
    names = {need.name for need in needs(revisions) if need.kind == "extension"}
    rows = connection.execute(QUERIES["extensions"], {"names": sorted(names)}).mappings()
    return tuple(Extension(**row) for row in rows)


def _once(asked: Iterable[Need]) -> list[Need]:
    first: dict[tuple[str, str, str], Need] = {}
    for need in asked:
        if need.kind != "extension":
            first.setdefault((need.kind, need.name, need.right), need)
    return list(first.values())


def _schema_of(need: Need) -> str:
    if need.kind in {"schema", "database"}:
        return ""
    return need.name if need.kind == "create" else need.name.rpartition(".")[0].strip('"')


def _missing(need: Need, owner: str, **changes: str) -> MissingRight:
    fields = {"kind": need.kind, "name": need.name, "right": need.right, "owner": owner}
    place = {"revision": need.revision, "statement": need.statement}
    return MissingRight.model_validate({**fields, **place, **changes})


def _for_version_table(connection: Connection, project: Project) -> Iterator[Need]:
    schema, table = project.version_table_schema, project.version_table
    if not connection.scalar(QUERIES["has_table"], {"schema": schema, "table": table}):
        yield Need("create", schema or "", "", "")
        return
    quote = connection.dialect.identifier_preparer.quote
    name = f"{quote(schema)}.{quote(table)}" if schema else quote(table)
    for right in ("INSERT", "UPDATE", "DELETE"):
        yield Need("privilege", name, "", "", right)
