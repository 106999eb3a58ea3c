"""Rehearse as it is really done: a downgrade archives what goes, and the upgrade brings it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from tasks.bootstrap import bootstrap
from tasks.migrations import archive
from tasks.migrations.applying import runner
from tasks.migrations.applying.runner import CommitsByItself
from tasks.migrations.archive.mapped_values import of_labels
from tasks.migrations.archive.model import EnumLabel
from tasks.migrations.archive.sql import quoted
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.measure import aside
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.migrations.rehearsal.passes import Move


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
        if not _has_archive(connection):
            runner.move(connection, project, revision, "upgrade")
            return
        try:
            with connection.begin():
                runner.move(connection, project, revision, "upgrade")
                restored = self._restore(connection, revision)
        except CommitsByItself:
            runner.move(connection, project, revision, "upgrade")
            with connection.begin():
                restored = self._restore(connection, revision)
        if restored.is_pending:
            with connection.begin():
                self._restore(connection, revision)

    def downgrade(
        self, connection: Connection, project: Project, revision: str, effect: RevisionEffect
    ) -> None:
        """Archive what goes, give rows what their enum values are mapped to, undo the revision."""
        _keep_history(connection)
        try:
            with connection.begin():
                archived = self._archive(connection, revision, effect)
                runner.move(connection, project, revision, "downgrade")
                _finish(connection, archived)
        except CommitsByItself:
            with connection.begin():
                archived = self._archive(connection, revision, effect)
                _finish(connection, archived, before_ddl=True)
            runner.move(connection, project, revision, "downgrade")
            with connection.begin():
                _finish(connection, archived)

    def _archive(
        self, connection: Connection, revision: str, effect: RevisionEffect
    ) -> archive.Archived:
        removed = effect.removed_enum_values
        with aside():
            kept = archive.archive(connection, self._environment, revision, effect, self._run_id)
            labels = (
                _others(connection, removed)
                if self._mapped is None
                else of_labels(self._mapped, removed)
            )
            archive.map_enum_values(connection, labels)
        return kept

    def _restore(self, connection: Connection, revision: str) -> archive.Restored:
        with aside():
            return archive.restore(connection, self._environment, revision)


def _finish(
    connection: Connection, archived: archive.Archived, *, before_ddl: bool = False
) -> None:
    with aside():
        archive.finish(connection, archived, before_ddl=before_ddl)


def undoing(added: Iterable[EnumLabel]) -> Move:
    """The plain way back of an upgrade that brought rows back with values of an enum it added.

    Such rows are in the way of it. They get another value, as ``Keeping`` gives them.
    """

    def undo(connection: Connection, project: Project, revision: str) -> None:
        try:
            runner.move(connection, project, revision, "downgrade")
        except DataError:
            connection.rollback()
            with aside(), connection.begin():
                mapped = archive.map_enum_values(connection, _others(connection, added))
            if not mapped:
                raise
            runner.move(connection, project, revision, "downgrade")

    return undo


def _others(connection: Connection, removed: Iterable[EnumLabel]) -> dict[EnumLabel, str]:
    """The first value of each enum that stays."""
    going, found = set(removed), {}
    for schema, name, label in going:
        query = text(f"SELECT unnest(enum_range(NULL::{quoted(schema, name)}))::text")
        stays = [each for each in connection.scalars(query) if (schema, name, each) not in going]
        if stays:
            found[schema, name, label] = stays[0]
    return found


def _has_archive(connection: Connection) -> bool:
    with aside(), connection.begin():
        return bool(connection.scalar(text("SELECT to_regclass('headway.archive') IS NOT NULL")))


def _keep_history(connection: Connection) -> None:
    """The copied database may never have been migrated by Headway."""
    with aside(), connection.begin():
        bootstrap(connection)
