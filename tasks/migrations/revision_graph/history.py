"""The history of migrations: one row per revision that ran, in the transaction of its DDL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext, MigrationInfo

from tasks.migrations.revision_graph.content import Content

MIGRATION_RUN = sa.table(
    "migration_run",
    sa.column("environment", sa.Text),
    sa.column("revision", sa.Text),
    sa.column("down_revision", sa.Text),
    sa.column("direction", sa.Text),
    sa.column("content_checksum", sa.Text),
    sa.column("script_checksum", sa.Text),
    sa.column("sql_checksum", sa.Text),
    sa.column("upgrade_sql", sa.Text),
    sa.column("downgrade_sql", sa.Text),
    sa.column("source", sa.Text),
    sa.column("renderer", sa.Text),
    sa.column("run_id", sa.Uuid),
    sa.column("actor", sa.Text),
    sa.column("reason", sa.Text),
    schema="headway",
)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Where a revision runs, for whom and why; the run id is Headway's, if a run did it."""

    environment: str
    run_id: str | None = None
    actor: str | None = None
    reason: str | None = None


def record(
    context: MigrationContext,
    step: MigrationInfo,
    occasion: Occasion,
    contents: Mapping[str, Content],
) -> None:
    """Write the row of one step, with what its revision says; meant for `on_version_apply`.

    The row of a stamp names where the database is said to be now, and where it was before.
    """
    revisions, before = step.up_revision_ids, step.down_revision_ids
    if step.is_stamp:
        revisions, before = step.destination_revision_ids, step.source_revision_ids
    context.execute(
        sa.insert(MIGRATION_RUN).values(
            environment=occasion.environment,
            revision=",".join(revisions) or "base",
            down_revision=",".join(before) or None,
            direction=_direction(step),
            run_id=sa.cast(sa.literal(occasion.run_id, sa.Text), sa.Uuid),
            actor=occasion.actor,
            reason=occasion.reason,
            **columns(contents.get(",".join(revisions))),
        )
    )


def _direction(step: MigrationInfo) -> str:
    if step.is_stamp:
        return "stamp"
    return "upgrade" if step.is_upgrade else "downgrade"


def columns(content: Content | None) -> dict[str, str | None]:
    """What a row of the history keeps of a revision's content."""
    if content is None:
        return {}
    return {
        "content_checksum": content.checksum,
        "script_checksum": content.script_checksum,
        "sql_checksum": content.sql_checksum,
        "upgrade_sql": content.upgrade_sql,
        "downgrade_sql": content.downgrade_sql,
        "source": content.source,
        "renderer": content.renderer,
    }
