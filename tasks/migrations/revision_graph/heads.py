"""Where a database stands: the rows of its version table."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from tasks.migrations.project import Project


def current_heads(connection: Connection, project: Project) -> tuple[str, ...]:
    """The rows of the version table: one normally, none before the first revision."""
    version = sa.column("version_num", sa.Text)
    table = sa.table(project.version_table, version, schema=project.version_table_schema)
    name = connection.dialect.identifier_preparer.format_table(table)
    if connection.scalar(sa.select(sa.func.to_regclass(name).is_(None))):
        return ()
    return tuple(sorted(connection.scalars(sa.select(version).select_from(table))))
