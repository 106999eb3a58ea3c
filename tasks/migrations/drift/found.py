"""Drift that somebody wants to do something about: seen in the transaction that will do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from tasks.bootstrap import bootstrap
from tasks.errors import Reason, Refused
from tasks.migrations import environments
from tasks.migrations.applying import session
from tasks.migrations.drift import accepted, evidence, rebuild
from tasks.migrations.drift.expected import Expected, expect
from tasks.migrations.drift.judge import DriftEvidence, judge_drift
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import compare
from tasks.migrations.fingerprint.model import Difference, Fingerprint
from tasks.settings import load_settings


@dataclass(frozen=True, slots=True)
class Drift:
    """A database with drift that nobody agreed to, seen in one transaction."""

    target: Target
    heads: tuple[str, ...]
    expected: Fingerprint
    actual: Fingerprint
    agreed: tuple[Difference, ...]
    differences: tuple[Difference, ...]

    @property
    def wanted(self) -> Fingerprint:
        """The schema with this drift, without what was agreed to before."""
        return accepted.taken_back(self.actual, self.agreed)


@contextmanager
def drifted(environment: str, what: str) -> Iterator[tuple[Connection, Drift]]:
    """A transaction under the migration lock, and the drift that is seen in it.

    Raises:
        Refused: there is none, or it is not known what the schema should be.
    """
    target, settings = environments.find(environment), load_settings()
    with environments.engine(target.url, "headway-drift").connect() as connection:
        with connection.begin():
            bootstrap(connection)
        with (
            connection.begin(),
            session.migrating(
                connection,
                lock_timeout_seconds=settings.lock_timeout_seconds,
                statement_timeout_seconds=settings.statement_timeout_seconds,
            ),
        ):
            yield connection, _find(connection, target, what)


def _find(connection: Connection, target: Target, what: str) -> Drift:
    expected, actual = expect(connection, target), rebuild.fingerprint(connection, target.project)
    agreed = accepted.read(connection)
    promised = _promised(expected, actual, target, what)
    found = unaccepted(promised, actual, agreed)
    if not found:
        raise Refused(what, [Reason("no-drift", f"{target.name!r} has no drift")])
    _refuse_stamped(target, expected, found, actual, what)
    return Drift(target, expected.heads, promised, actual, agreed, found)


def _refuse_stamped(
    target: Target,
    expected: Expected,
    found: tuple[Difference, ...],
    actual: Fingerprint,
    what: str,
) -> None:
    """What was never applied is no drift that somebody made by hand."""
    really = evidence.stands_at(target, expected, found, actual)
    if really is None:
        return
    seen = DriftEvidence(
        environment=target.name,
        heads=expected.heads,
        origin=expected.origin,
        differences=found,
        stands_at=really,
    )
    raise Refused(what, judge_drift(seen).reasons)


def _promised(expected: Expected, actual: Fingerprint, target: Target, what: str) -> Fingerprint:
    if expected.fingerprint is None:
        problem = expected.problem or "no revision is applied, so none is promised"
        message = f"what the schema of {target.name!r} should be is not known: {problem}"
        raise Refused(what, [Reason("drift-unknown", message)])
    if expected.origin == "rebuilt":
        return rebuild.as_if_here(expected.fingerprint, actual)
    return expected.fingerprint


def unaccepted(
    expected: Fingerprint, actual: Fingerprint, agreed: Sequence[Difference]
) -> tuple[Difference, ...]:
    """The drift that nobody agreed to."""
    found, _ = accepted.split(compare(expected, actual), agreed)
    return tuple(each for each in found if not each.is_information)
