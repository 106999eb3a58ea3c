"""What a verdict about drift needs: the schema as it is, and as its own revisions made it."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.migrations import environments
from tasks.migrations.drift import accepted, half_done, rebuild
from tasks.migrations.drift.expected import Expected, expect
from tasks.migrations.drift.judge import DriftEvidence
from tasks.migrations.drift.running import said
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import compare
from tasks.migrations.fingerprint.model import Difference, Fingerprint
from tasks.migrations.revision_graph.heads import current_heads


def gather(environment: str) -> DriftEvidence:
    """How an environment's database differs from what it should be; nothing is changed in it."""
    target = environments.find(environment)
    with environments.engine(target.url, "headway-drift").connect() as connection:
        return look(connection, target)


def look(connection: Connection, target: Target) -> DriftEvidence:
    """The same, on a connection that is there. What cannot be read is unknown."""
    try:
        actual = rebuild.fingerprint(connection, target.project)
    except DBAPIError as error:
        if connection.invalidated or error.connection_invalidated:
            raise
        heads = current_heads(connection, target.project)
        problem = f"its schema cannot be read: {said(error)}"
        return DriftEvidence(
            environment=target.name, heads=heads, origin="unknown", problem=problem
        )
    return _compared(connection, target, actual)


def _compared(connection: Connection, target: Target, actual: Fingerprint) -> DriftEvidence:
    expected = expect(connection, target)
    open_ones, agreed = accepted.split(differences(expected, actual), accepted.read(connection))
    sent = half_done.read(connection)
    open_ones, left_behind = half_done.split(open_ones, sent)
    return DriftEvidence(
        environment=target.name,
        heads=expected.heads,
        origin=expected.origin,
        problem=expected.problem,
        differences=open_ones,
        accepted=agreed,
        left_behind=left_behind,
        half_done=tuple(dict.fromkeys(each.revision for each in sent)),
        stands_at=stands_at(target, expected, open_ones, actual),
        fingerprint_hash=actual.hash,
    )


def differences(expected: Expected, actual: Fingerprint) -> tuple[Difference, ...]:
    """How the schema differs from the expected one; nothing where none is expected."""
    if expected.fingerprint is None:
        return ()
    if expected.origin == "rebuilt":
        return compare(rebuild.as_if_here(expected.fingerprint, actual), actual)
    return compare(expected.fingerprint, actual)


def stands_at(
    target: Target, expected: Expected, found: tuple[Difference, ...], actual: Fingerprint
) -> tuple[str, ...] | None:
    """The heads at which the schema really is, if it was only stamped to be elsewhere.

    Looked for where nothing was recorded: what was recorded had been there.
    """
    is_drift = any(not each.is_information for each in found)
    if expected.origin != "rebuilt" or not is_drift:
        return None
    try:
        return rebuild.stands_at(target, expected.heads, actual)
    except rebuild.CannotRebuild:
        return None
