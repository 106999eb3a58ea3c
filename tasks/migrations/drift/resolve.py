"""What to do about drift: revert it, accept it, or adopt it as a revision (`adopting`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError

from tasks.errors import NotFound, Reason, Refused
from tasks.migrations.drift import accepted, losses, rebuild, running
from tasks.migrations.drift.adopting import Adopted, adopt
from tasks.migrations.drift.ddl import write
from tasks.migrations.drift.expected import record
from tasks.migrations.drift.found import drifted, unaccepted
from tasks.migrations.fingerprint.model import Difference, name_of

__all__ = ["Adopted", "Reverted", "accept", "adopt", "revert"]

_EXPLAINED_BY_THE_SESSION = {"55P03", "2BP01"}  # a lock that is not free; others depend on it


class Reverted(BaseModel):
    """What was undone, and the statements that did it."""

    model_config = ConfigDict(frozen=True)

    differences: tuple[Difference, ...]
    statements: tuple[str, ...]


def revert(environment: str, *, run_id: str | None = None) -> Reverted:
    """Undo the drift in one transaction, which commits only if nothing differs afterwards.

    Raises:
        Refused: rows would be lost, a difference cannot be written as SQL or undone, or there is
            no drift; nothing was changed.
    """
    with drifted(environment, "the revert") as (connection, drift):
        ddl = write(drift.wanted, drift.expected)
        if ddl.by_hand:
            raise Refused("the revert", [_by_hand(each) for each in ddl.by_hand])
        lost = losses.find(connection, drift.expected, drift.differences)
        if lost:
            raise Refused("the revert", lost)
        with _refusing("the revert"):
            running.run(connection, ddl.statements)
        after = rebuild.fingerprint(connection, drift.target.project)
        left = unaccepted(drift.expected, after, drift.agreed)
        if left:
            raise Refused("the revert", [_left(each) for each in left])
        record(connection, drift.heads, after, "reverted", run_id)
    return Reverted(differences=drift.differences, statements=ddl.statements)


def accept(
    environment: str,
    objects: Sequence[str] | None = None,
    *,
    actor: str,
    reason: str,
    run_id: str | None = None,
) -> tuple[Difference, ...]:
    """Agree to the drift, or to that of some objects (`public.ix_hot`), as it is.

    Raises:
        NotFound: an object has no drift.
        Refused: there is no drift.
    """
    with drifted(environment, "the acceptance") as (connection, drift):
        chosen = drift.differences if objects is None else _chosen(drift.differences, objects)
        accepted.accept(connection, chosen, actor=actor, reason=reason, run_id=run_id)
    return chosen


def _chosen(found: Sequence[Difference], objects: Sequence[str]) -> tuple[Difference, ...]:
    known = {name for each in found for name in (each.object, name_of(each.object))}
    unknown = [name for name in objects if name not in known]
    if unknown:
        listed = ", ".join(sorted({each.object for each in found}))
        raise NotFound(f"{', '.join(unknown)} has no drift; what has: {listed}")
    return tuple(each for each in found if {each.object, name_of(each.object)} & set(objects))


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _EXPLAINED_BY_THE_SESSION:
            raise
        message = f"{running.said(error)}; undo it by hand, or adopt or accept it"
        raise Refused(what, [Reason("cannot-revert", message)]) from error


def _by_hand(difference: str) -> Reason:
    return Reason(
        "by-hand",
        f"{difference}: no statement that Headway can write undoes it; undo it by hand, or adopt "
        "or accept it",
    )


def _left(difference: Difference) -> Reason:
    return Reason(
        "drift-left",
        f"{difference.text}, even after everything was undone; undo it by hand, or adopt or "
        "accept it",
    )
