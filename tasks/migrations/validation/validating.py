"""Look at a database after its revisions ran, and decide what to do about what is found."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.decisions import decide
from tasks.errors import HeadwayError, Reason
from tasks.ledger import current_run, step_logger
from tasks.migrations import environments
from tasks.migrations.applying.moves import Moved
from tasks.migrations.drift import rebuild
from tasks.migrations.drift.expected import recorded
from tasks.migrations.fingerprint import Fingerprint
from tasks.migrations.rehearsal.model import Rehearsal
from tasks.migrations.validation import check
from tasks.migrations.validation.after_apply import (
    AfterApplyEvidence,
    AppliedRevisionFacts,
    judge_after_apply,
)
from tasks.migrations.validation.check import SchemaCheck


class Validated(BaseModel):
    """What was found, and what to do: `keep`, `roll-back` these revisions, or `stop`."""

    model_config = ConfigDict(frozen=True)

    check: SchemaCheck
    verdict: str
    reasons: tuple[Reason, ...] = ()
    undo: tuple[str, ...] = ()

    def require_kept(self) -> None:
        """Raise ValidationFailed if what was done could not stay, or should not have."""
        if self.verdict == "keep":
            return
        listed = "; ".join(reason.message for reason in self.reasons)
        what = f"{', '.join(self.undo)} rolled back again" if self.undo else "nothing was undone"
        raise ValidationFailed(f"{self.check.environment}: {listed}. {what}")


class ValidationFailed(HeadwayError):
    """A migration ran, and the database is not as it should be after it."""


def validate(
    tx: Connection,
    environment: str,
    before: Sequence[str],
    moved: Sequence[Moved],
    rehearsal: Rehearsal | None,
) -> Validated:
    """Compare with the rehearsal, run the suites of changed tables, and record the verdict."""
    done = [each for each in moved if each.outcome == "done"]
    found = _verify(environment, before, done, rehearsal)
    if not found.is_sound:
        step_logger().warning("the schema of %s is not as it should be: %s", environment, found)
    if not any(each.direction == "upgrade" for each in done):
        return Validated(check=found, verdict="keep")
    evidence = AfterApplyEvidence(
        environment=environment,
        applied=tuple(_facts(each, rehearsal) for each in done),
        is_as_rehearsed=found.is_as_rehearsed,
        invalid_indexes=found.invalid_indexes,
        failed_suites=found.failed_suites,
    )
    verdict = decide(tx, judge_after_apply, evidence, subject=f"migration:{environment}").verdict
    undo = tuple(verdict.details.get("revisions", ()))
    return Validated(check=found, verdict=verdict.verdict, reasons=verdict.reasons, undo=undo)


def _verify(
    environment: str, before: Sequence[str], done: Sequence[Moved], rehearsal: Rehearsal | None
) -> SchemaCheck:
    target = environments.find(environment)
    with environments.engine(target.url).connect() as connection:
        if not done:
            return check.look(connection, target)
        was = recorded(connection, before)
        major = rebuild.fingerprint(connection, target.project).server_major if was is None else 0
        return check.verify(
            connection,
            target,
            rehearsed_hash=_rehearsed_hash(done, rehearsal),
            before=was or Fingerprint(server_major=major, objects={}),
            run_id=current_run().id,
        )


def _rehearsed_hash(done: Sequence[Moved], rehearsal: Rehearsal | None) -> str | None:
    """Only if exactly what was rehearsed was done."""
    if rehearsal is None or tuple(each.revision for each in done) != rehearsal.revisions:
        return None
    return rehearsal.after_hash


def _facts(moved: Moved, rehearsal: Rehearsal | None) -> AppliedRevisionFacts:
    trip = rehearsal.round_trip(moved.revision) if rehearsal else None
    return AppliedRevisionFacts(
        revision=moved.revision, is_lossless=trip.is_lossless if trip else None
    )
