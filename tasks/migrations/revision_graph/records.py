"""What the history of a database holds of its revisions, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import applied, content, history
from tasks.migrations.revision_graph.applied import Event
from tasks.migrations.revision_graph.history import Occasion
from tasks.migrations.revision_graph.integrity import AppliedRevision, WrittenSql
from tasks.migrations.revision_graph.script import Script

QUERIES = load_queries(__package__, "graph.sql")
_EVENTS = {1: "events_before_contents", 2: "events"}


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A revision's file and its SQL, as they were when it was applied."""

    revision: str
    checksum: str | None
    script_checksum: str | None
    source: str
    sql: WrittenSql


def read_history(connection: Connection, scripts: Sequence[Script]) -> tuple[AppliedRevision, ...]:
    """The revisions that are applied as the history adds up; empty without one."""
    version = connection.scalar(QUERIES["history_version"])
    if version not in _EVENTS:
        return ()
    rows = connection.execute(QUERIES[_EVENTS[version]]).mappings()
    return applied.add_up(scripts, (Event(**row) for row in rows))


def read_contents(connection: Connection, revisions: Iterable[str]) -> dict[str, StoredContent]:
    """What the history holds of these revisions; nothing of those that it only names."""
    wanted = sorted(set(revisions))
    if not wanted or connection.scalar(QUERIES["history_version"]) != max(_EVENTS):
        return {}
    rows = connection.execute(QUERIES["stored_contents"], {"revisions": wanted})
    return {
        row.revision: StoredContent(
            revision=row.revision,
            checksum=row.checksum,
            script_checksum=row.script_checksum,
            source=row.source,
            sql=WrittenSql(
                upgrade=row.upgrade_sql, downgrade=row.downgrade_sql, renderer=row.renderer
            ),
        )
        for row in rows
    }


def record_cosmetic(
    connection: Connection, project: Project, revisions: Iterable[str], occasion: Occasion
) -> tuple[str, ...]:
    """Record that the files of these applied revisions were reformatted since; returns them.

    The caller has judged that nothing but their layout changed (`details["cosmetic"]` of a plan);
    from now on the history compares with the files as they are. Once recorded, it is not again.
    """
    stored = read_contents(connection, revisions)
    recorded = []
    for revision in sorted(stored):
        now = content.read_content(project, revision)
        before = stored[revision]
        is_cosmetic = now.script_checksum == before.script_checksum
        if is_cosmetic and now.checksum != before.checksum:
            connection.execute(
                sa.insert(history.MIGRATION_RUN).values(
                    environment=occasion.environment,
                    revision=revision,
                    direction="cosmetic",
                    run_id=sa.cast(sa.literal(occasion.run_id, sa.Text), sa.Uuid),
                    actor=occasion.actor,
                    reason=occasion.reason,
                    **history.columns(now),
                )
            )
            recorded.append(revision)
    return tuple(recorded)
