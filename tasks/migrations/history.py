"""The history of migrations: one row per revision that ran, in the transaction of its DDL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext, MigrationInfo

MIGRATION_RUN = sa.table(
    "migration_run",
    sa.column("environment", sa.Text),
    sa.column("revision", sa.Text),
    sa.column("down_revision", sa.Text),
    sa.column("direction", sa.Text),
    sa.column("content_checksum", sa.Text),
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


def checksum(path: Path) -> str:
    """sha256 of a revision file, as hex; line ends do not count (a checkout may change them)."""
    return hashlib.sha256(path.read_text("utf-8").encode()).hexdigest()


def record(context: MigrationContext, step: MigrationInfo, occasion: Occasion) -> None:
    """Write the row of one step; meant for Alembic's `on_version_apply`.

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
            content_checksum=_content_checksum(step, revisions),
            run_id=sa.cast(sa.literal(occasion.run_id, sa.Text), sa.Uuid),
            actor=occasion.actor,
            reason=occasion.reason,
        )
    )


def _direction(step: MigrationInfo) -> str:
    if step.is_stamp:
        return "stamp"
    return "upgrade" if step.is_upgrade else "downgrade"


def _content_checksum(step: MigrationInfo, revisions: Sequence[str]) -> str | None:
    if len(revisions) != 1:
        return None
    script: Any = step.revision_map.get_revision(revisions[0])
    return checksum(Path(script.path)) if script is not None else None
