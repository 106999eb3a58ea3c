"""A revision that runs late: below the database's heads, which stand for it too."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tasks.migrations.project import Project


def is_late(scripts: ScriptDirectory, revision: str, heads: Collection[str]) -> bool:
    """Does the revision stand below one of these heads?"""
    above = tuple(head for head in heads if head != revision)
    if not above:
        return False
    below = scripts.revision_map._get_ancestor_nodes(  # noqa: SLF001 - it has no public name
        scripts.revision_map.get_revisions(above), check=False
    )
    return revision in {script.revision for script in below}


def leave_no_head(context: MigrationContext, project: Project, revision: str) -> None:
    """Take the revision out of the version table, into which Alembic has put it as a branch."""
    version = sa.column("version_num", sa.Text)
    table = sa.table(project.version_table, version, schema=project.version_table_schema)
    context.execute(sa.delete(table).where(version == revision))
