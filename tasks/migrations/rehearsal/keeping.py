"""Rehearse as it is really done: a downgrade archives what goes, and the upgrade brings it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

from tasks.bootstrap import bootstrap
from tasks.migrations import archive, runner
from tasks.migrations.archive.model import EnumLabel
from tasks.migrations.archive.sql import quoted
from tasks.migrations.mapped_values import of_labels
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.migrations.runner import CommitsByItself


class Keeping:
    """The two ways of a revision of one environment, on a copy of its database."""

    def __init__(
        self, environment: str, run_id: str | None, mapped: Mapping[str, str] | None = None
    ) -> None:
        """``mapped`` is what a rollback gives rows in place of enum values that go.

        None: it is the way back of an upgrade, where any value shows whether they come back.
        """
        self._environment, self._run_id, self._mapped = environment, run_id, mapped

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
        """Archive what goes, give rows what their enum values are mapped to, undo the revision."""
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
        kept = archive.archive(connection, self._environment, revision, effect, self._run_id)
        removed = effect.removed_enum_values
        is_given = self._mapped is not None
        labels = (
            of_labels(self._mapped or {}, removed) if is_given else _others(connection, removed)
        )
        archive.map_enum_values(connection, labels)
        return kept


def _others(connection: Connection, removed: Iterable[EnumLabel]) -> dict[EnumLabel, str]:
    """The first value of each enum that stays."""
    going, found = set(removed), {}
    for schema, name, label in going:
        query = text(f"SELECT unnest(enum_range(NULL::{quoted(schema, name)}))::text")
        stays = [each for each in connection.scalars(query) if (schema, name, each) not in going]
        if stays:
            found[schema, name, label] = stays[0]
    return found


def _keep_history(connection: Connection) -> None:
    """The copied database may never have been migrated by Headway."""
    with connection.begin():
        bootstrap(connection)
