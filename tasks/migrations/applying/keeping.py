"""What a move keeps of the rows: a downgrade archives them, the next upgrade brings them back."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from tasks import runs
from tasks.migrations import archive
from tasks.migrations.archive.model import Archived, Effect, EnumLabel, Restored


class Keeper:
    """Archives what a downgrade takes away, in the transaction of its DDL."""

    def __init__(
        self,
        connection: Connection,
        environment: str,
        revision: str,
        effect: Effect,
        mapped_values: Mapping[EnumLabel, str],
    ) -> None:
        self._connection, self._effect = connection, effect
        self._environment, self._revision = environment, revision
        self._mapped_values = mapped_values
        self._is_resumed = False
        self.archived: Archived | None = None

    def copy(self, *, is_resumed: bool) -> None:
        """Copy what can be copied before, so that the tables are locked for less long.

        ``is_resumed``: an earlier try has committed the archive, and the first of its statements.
        """
        self._is_resumed = is_resumed
        if is_resumed:
            return
        run_id = runs.current_run().id
        engine = self._connection.engine
        archive.copy_bulk(engine, self._environment, self._revision, self._effect, run_id)

    def before(self) -> None:
        """In the transaction of the DDL, before its first statement."""
        if self._is_resumed:
            return
        run_id = runs.current_run().id
        self.archived = archive.archive(
            self._connection, self._environment, self._revision, self._effect, run_id
        )
        if self._mapped_values:
            archive.map_enum_values(self._connection, self._mapped_values)

    def before_block(self) -> None:
        """The transaction is about to be committed although the downgrade goes on."""
        if self.archived is not None:
            archive.finish(self._connection, self.archived, before_ddl=True)

    def after(self) -> None:
        """In the transaction of the history row, after the last statement."""
        if self.archived is not None:
            self.archived = archive.finish(self._connection, self.archived)


class Restorer:
    """Brings back what the last downgrade of the revision archived."""

    def __init__(self, connection: Connection, environment: str, revision: str) -> None:
        self._connection = connection
        self._environment, self._revision = environment, revision
        self.restored: Restored | None = None

    def before(self) -> None:
        """In the transaction of the DDL, before its first statement: what is as it was left?"""
        self.restored = None
        archive.prepare(self._connection, self._environment, self._revision)

    def after(self) -> None:
        """In the transaction of the history row, after the last statement."""
        self.restored = archive.restore(self._connection, self._environment, self._revision)

    def after_commit(self) -> None:
        """In a transaction of its own: rows that use a value of an enum which is new."""
        if self.restored is not None and self.restored.is_pending:
            with self._connection.begin():
                self.restored = archive.restore_pending(self._connection, self.restored)

    def after_crash(self) -> None:
        """Where it is applied already: what a run that died after its commit left to bring back."""
        self._connection.rollback()
        with self._connection.begin():
            self.after()
