"""What a plan is made of: read from the revision files and from the environment's database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations import environments
from tasks.migrations.environments import Target
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import conflicts, content, graph, records
from tasks.migrations.revision_graph.facts import DatabaseEvidence, VersionTable
from tasks.migrations.revision_graph.heads import current_heads
from tasks.migrations.revision_graph.integrity import AppliedRevision, ChangedContent, WrittenSql
from tasks.migrations.revision_graph.plan import PlanEvidence
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.revision_graph.script import Script

QUERIES = load_queries(__package__, "graph.sql")


def gather(environment: str) -> PlanEvidence:
    """The facts for an upgrade of the environment to its head; nothing is changed."""
    target = environments.find(environment)
    with environments.engine(target.url).connect() as connection:
        found = read_evidence(connection, target)
    return PlanEvidence(
        **dict(found),
        direction="upgrade",
        is_protected=target.is_protected,
        forbids_reset=target.forbid_reset,
    )


def read_evidence(connection: Connection, target: Target) -> DatabaseEvidence:
    """The files of the target's project, and what its database says of itself."""
    project = target.project
    scripts, unreadable = read_scripts(project)
    current = current_heads(connection, project)
    history = records.read_history(connection, scripts)
    return DatabaseEvidence(
        environment=target.name,
        scripts=scripts,
        unreadable=unreadable,
        current=current,
        history=history,
        changed=_changed(connection, project, scripts, history),
        elsewhere=() if current else _elsewhere(connection, project),
    )


def applied_revisions(connection: Connection, project: Project) -> frozenset[str]:
    """The revisions that are applied, under whatever lock the caller holds."""
    scripts, _ = read_scripts(project)
    evidence = DatabaseEvidence(
        environment="",
        scripts=scripts,
        current=current_heads(connection, project),
        history=records.read_history(connection, scripts),
    )
    return conflicts.applied_by(evidence)


def _changed(
    connection: Connection,
    project: Project,
    scripts: Sequence[Script],
    history: Sequence[AppliedRevision],
) -> tuple[ChangedContent, ...]:
    """The SQL of those whose file changed, or leans on others that may have."""
    files = {script.revision: script for script in scripts}
    if len(files) < len(scripts):  # which of two files would it be?
        return ()
    suspects = [
        item.revision
        for item in history
        if item.is_stored
        and (script := files.get(item.revision)) is not None
        and (script.leans_on_others or item.checksum != script.checksum)
    ]
    stored = records.read_contents(connection, suspects)
    return tuple(
        ChangedContent(
            revision=revision, stored=before.sql, current=_current_sql(project, revision)
        )
        for revision, before in stored.items()
    )


def _current_sql(project: Project, revision: str) -> WrittenSql:
    found = content.read_content(project, revision)
    return WrittenSql(
        upgrade=found.upgrade_sql, downgrade=found.downgrade_sql, renderer=found.renderer
    )


def _elsewhere(connection: Connection, project: Project) -> tuple[VersionTable, ...]:
    """Version tables of the same name in other schemas, with what they say."""
    quote = connection.dialect.identifier_preparer.quote
    configured = ".".join(
        quote(part) for part in (project.version_table_schema, project.version_table) if part
    )
    asked = {"version_table": project.version_table, "configured": configured}
    schemas = connection.scalars(QUERIES["version_tables"], asked).all()
    found = []
    for schema in schemas:
        name = f"{schema}.{project.version_table}"
        if any(fnmatchcase(f"table {name}", pattern) for pattern in project.ignore):
            continue
        versions = sa.table(project.version_table, sa.column("version_num"), schema=schema)
        rows = connection.scalars(sa.select(versions.c.version_num)).all()
        found.append(VersionTable(table=name, revisions=tuple(sorted(rows))))
    return tuple(found)


def heads_after(environment: str, revisions: Iterable[str]) -> tuple[str, ...]:
    """The heads of the environment's database once these revisions are applied too."""
    found = gather(environment)
    there = conflicts.applied_by(found) | set(revisions)
    scripts = [script for script in found.scripts if script.revision in there]
    return tuple(script.revision for script in graph.heads(scripts))
