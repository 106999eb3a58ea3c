"""Undo a revision after trying it out behind a savepoint: what it would lose is counted."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from tasks.database import load_queries
from tasks.decisions import Verdict
from tasks.migrations import drops, environments, runner
from tasks.migrations.losses import Loss, LossEvidence
from tasks.migrations.moves import (
    Moved,
    _found,
    _is_applied,
    _locked,
    _moved,
    _occasion,
    _session,
    _with_history,
)

QUERIES = load_queries(__package__)


def downgrade(
    environment: str,
    revision: str,
    allow_data_loss: bool,
    judge: Callable[[LossEvidence], Verdict],
) -> Moved:
    """Undo a revision if ``judge`` agrees to what would be lost; `already` if it is not applied.

    Looking, counting and undoing are one transaction, so nothing can be added in between. Only a
    downgrade that commits while it runs is not: it cannot be tried out, and ``judge`` is told so.

    Raises:
        LockNotAcquired: a lock was not free within the timeout; the message names its holder.
        Refused: something of others (a view, a foreign key) builds on what would go.
    """
    with _session(environment) as connection:
        _with_history(connection)
        with connection.begin() as transaction, _locked(connection, revision):
            if not _is_applied(connection, environment, revision):
                return _moved(environment, revision, "downgrade", "already")
            lost = _would_lose(connection, environment, revision)
            evidence = LossEvidence(
                environment=environment,
                revision=revision,
                losses=lost or (),
                allow_data_loss=allow_data_loss,
                is_known=lost is not None,
            )
            verdict = judge(evidence)
            if verdict.verdict == "refused":
                transaction.rollback()
                refused = _moved(environment, revision, "downgrade", "refused")
                update = {"losses": evidence.losses, "reasons": verdict.reasons}
                return refused.model_copy(update=update)
            if lost is None:
                transaction.rollback()
            else:
                runner.move(
                    connection,
                    environments.find(environment).project,
                    revision,
                    "downgrade",
                    _occasion(environment),
                )
        if lost is None:
            _downgrade_that_commits(connection, environment, revision)
        done = _found(connection, environment, revision, "downgrade")
    done = done or _moved(environment, revision, "downgrade", "done")
    return done.model_copy(update={"losses": lost or ()})


def _would_lose(connection: Connection, environment: str, revision: str) -> tuple[Loss, ...] | None:
    """Try the downgrade out; None if it would commit, in which case the transaction is spent."""
    before = drops.columns(connection)
    trial = connection.begin_nested()
    connection.execute(QUERIES["forbid_commit"])
    try:
        runner.move(
            connection,
            environments.find(environment).project,
            revision,
            "downgrade",
            _occasion(environment),
        )
    except runner.CommitsByItself:
        return None
    except IntegrityError as error:
        if not _is_commit(error):
            raise
        return None
    after = drops.columns(connection)
    trial.rollback()
    return drops.count(connection, before, after)


def _is_commit(error: IntegrityError) -> bool:
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) == "headway_may_not_commit"


def _downgrade_that_commits(connection: Connection, environment: str, revision: str) -> None:
    with _locked(connection, revision):
        is_applied = _is_applied(connection, environment, revision)
        connection.rollback()
        if is_applied:
            runner.move(
                connection,
                environments.find(environment).project,
                revision,
                "downgrade",
                _occasion(environment),
            )
