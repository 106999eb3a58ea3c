"""Rehearse as it is really done: a downgrade archives what goes, and the upgrade brings it back."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.bootstrap import bootstrap
from tasks.migrations import archive, runner
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.migrations.runner import CommitsByItself


class Keeping:
    """The two ways of a revision of one environment, on a copy of its database."""

    def __init__(self, environment: str, run_id: str | None) -> None:
        self._environment, self._run_id = environment, run_id

    def upgrade(self, connection: Connection, project: Project, revision: str) -> None:
        """Apply the revision and bring back what its last downgrade archived."""
        _keep_history(connection)
        try:
            with connection.begin():
                runner.move(connection, project, revision, "upgrade")
                restored = archive.restore(connection, self._environment, revision)
        except CommitsByItself:
            runner.move(connection, project, revision, "upgrade")
            with connection.begin():
                restored = archive.restore(connection, self._environment, revision)
        if restored.is_pending:
            with connection.begin():
                archive.restore(connection, self._environment, revision)

    def downgrade(
        self, connection: Connection, project: Project, revision: str, effect: RevisionEffect
    ) -> None:
        """Archive what goes, and undo the revision."""
        _keep_history(connection)
        try:
            with connection.begin():
                archived = self._archive(connection, revision, effect)
                runner.move(connection, project, revision, "downgrade")
                archive.finish(connection, archived)
        except CommitsByItself:
            with connection.begin():
                archived = self._archive(connection, revision, effect)
                archive.finish(connection, archived, before_ddl=True)
            runner.move(connection, project, revision, "downgrade")
            with connection.begin():
                archive.finish(connection, archived)

    def _archive(
        self, connection: Connection, revision: str, effect: RevisionEffect
    ) -> archive.Archived:
        return archive.archive(connection, self._environment, revision, effect, self._run_id)


def _keep_history(connection: Connection) -> None:
    """The copied database may never have been migrated by Headway."""
    with connection.begin():
        bootstrap(connection)
