"""The steps of a migration: judge it, rehearse it, move one revision, look at the result.

The DDL happens in the environment's own database, together with its history row; the step's
transaction is in the control database. So each move is journalled as an effect, and a run that
died in between finds out from the history whether it had happened.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, text

from tasks.decisions import Rule, decide
from tasks.ledger import current_run, effect, step
from tasks.migrations import (
    archive,
    environments,
    evidence,
    mapped_values,
    moves,
    probing,
    records,
    saved_plans,
    stored,
    validating,
)
from tasks.migrations.archive import Archived
from tasks.migrations.drift.evidence import gather as gather_drift
from tasks.migrations.drift.judge import judge_drift
from tasks.migrations.gate import GateEvidence, Part, PlanFacts, judge_gate
from tasks.migrations.hazards.judge import judge_hazards
from tasks.migrations.hazards.review import review
from tasks.migrations.history import Occasion
from tasks.migrations.moves import Moved
from tasks.migrations.plan import Direction, PlanEvidence, judge_plan
from tasks.migrations.preflight import judge_preflight
from tasks.migrations.prepared import (
    DriftFound,
    Gated,
    HazardsFound,
    Planned,
    PlannedRevision,
    Rehearsed,
)
from tasks.migrations.rehearsal.judge import RehearsalEvidence, judge_rehearsal
from tasks.migrations.rehearsal.keeping import Keeping
from tasks.migrations.rehearsal.model import Rehearsal, RevisionEffect
from tasks.migrations.rehearsal.rehearse import find_effects, rehearse
from tasks.migrations.validating import Validated


@step(key="{environment}:{target}")
def plan_migrations(
    tx: Connection, environment: str, target: str = "head", run_spliced: bool = False
) -> Planned:
    """Find out which revisions the environment's database lacks, and record the decision.

    Nothing is changed. Refused, with the files named, if there are several heads, missing or
    duplicate revisions, a file that was edited after it was applied, one that came late below the
    head, or a database at a revision that no file defines.
    """
    asked = {"target": target, "run_spliced": run_spliced}
    return _planned(tx, evidence.gather(environment).model_copy(update=asked))


@step(key="{environment}:{steps}:{to}")
def plan_rollback(
    tx: Connection,
    environment: str,
    steps: int = 1,
    to: str | None = None,
    confirm: str | None = None,
    use_stored: bool = False,
    is_reset: bool = False,
) -> Planned:
    """Find out which revisions to undo: the last applied first, as the history says.

    Nothing is changed. A protected environment is refused unless `confirm` is its name; a reset
    always asks for it, and is refused where the environment forbids it.
    """
    asked = {
        "direction": "downgrade",
        "steps": steps,
        "to": to,
        "confirm": confirm,
        "use_stored": use_stored,
        "is_reset": is_reset,
    }
    return _planned(tx, evidence.gather(environment).model_copy(update=asked))


@step(key="{environment}")
def check_drift(tx: Connection, environment: str) -> DriftFound:
    """Compare the schema with what the database's own revisions made of it; change nothing.

    Drift is named by object and attribute. Where no run has recorded what the schema was, the
    revisions are run on a scratch database to find out.
    """
    found = gather_drift(environment)
    decided = decide(tx, judge_drift, found, subject=f"schema:{environment}")
    return DriftFound(
        name="drift",
        decision_id=decided.id,
        verdict=decided.verdict.verdict,
        reasons=decided.verdict.reasons,
        fingerprint=found.fingerprint_hash or "",
        information=tuple(decided.verdict.details["information"]),
    )


@step(key="{environment}:{direction}")
def check_preconditions(
    tx: Connection,
    environment: str,
    revisions: tuple[str, ...],
    direction: Direction,
    taken: tuple[RevisionEffect, ...] = (),
    mapped: dict[str, str] | None = None,
    stored_only: tuple[str, ...] = (),
) -> Part:
    """Find out whether the database can take the revisions: the user's rights, extensions, rows.

    Rows that would break a new constraint, or that a narrower type cannot hold, are counted, with
    the keys of a few. Also refused: a standby, a read-only database, a pooler in between.
    """
    with stored.used(environment, stored_only):
        found = probing.gather(
            environment,
            revisions,
            direction=direction,
            effects=taken,
            mapped_enum_values=tuple(mapped or ()),
        )
    return _part(tx, "preconditions", judge_preflight, found, environment)


@step(key="{environment}:{direction}")
def rehearse_migrations(
    tx: Connection,
    environment: str,
    revisions: tuple[str, ...],
    direction: Direction,
    is_quick: bool = False,
    stored_only: tuple[str, ...] = (),
) -> Rehearsed:
    """Try the revisions out on a copy of the database: there, back, and there again.

    The copy is a scratch database, dropped afterwards. Every statement is measured: how long it
    takes, what it locks, scans and writes anew. Refused if a statement fails, a table would be
    blocked for longer than the environment allows, or the way back loses schema or rows. Quickly:
    only once, on a copy without rows, to see what the revisions take away.
    """
    with stored.used(environment, stored_only):
        target = environments.find(environment)
        if is_quick:
            found = find_effects(target, revisions, direction)
        else:
            ways = Keeping(environment, current_run().id)
            found = rehearse(
                target, revisions, direction, upgrade=ways.upgrade, downgrade=ways.downgrade
            )
    judged = RehearsalEvidence(rehearsal=found, max_lock_seconds=target.max_lock_seconds)
    part = _part(tx, "rehearsal", judge_rehearsal, judged, environment)
    return Rehearsed(**part.model_dump(), rehearsal=found)


@step(key="{environment}:{direction}")
def review_hazards(
    tx: Connection,
    environment: str,
    revisions: tuple[str, ...],
    direction: Direction,
    approve: tuple[str, ...] = (),
    rehearsal: Rehearsal | None = None,
    stored_only: tuple[str, ...] = (),
) -> HazardsFound:
    """Look for what the statements would do to a database in use, and who approved it.

    Critical ones refuse the plan, high ones unless they are approved as `code@revision`. What the
    SQL alone cannot tell is decided by the figures of the rehearsal.
    """
    with (
        stored.used(environment, stored_only),
        environments.engine(environments.find(environment).url).connect() as connection,
    ):
        found = review(
            connection,
            environments.find(environment),
            revisions,
            direction,
            measured=rehearsal.statements if rehearsal else (),
            data=rehearsal.data if rehearsal else None,
            approvals=approve,
            actor=current_run().actor,
        )
    part = _part(tx, "hazards", judge_hazards, found, environment)
    return HazardsFound(**part.model_dump(), hazards=found.hazards, approvals=found.approvals)


@step(key="{facts.environment}:{facts.direction}")
def gate_plan(
    tx: Connection, facts: PlanFacts, parts: tuple[Part, ...], saved: str | None = None
) -> Gated:
    """Put the judgements about a plan together: allowed, nothing to do, or refused, and its hash.

    A saved plan is refused as stale if the database, the revisions or their content have changed
    since it was made.
    """
    before = saved_plans.find(tx, saved) if saved else None
    evidence = GateEvidence(facts=facts, parts=parts, saved=before.facts if before else None)
    decided = decide(tx, judge_gate, evidence, subject=f"migration:{facts.environment}")
    return Gated(
        name="gate",
        decision_id=decided.id,
        verdict=decided.verdict.verdict,
        reasons=decided.verdict.reasons,
        plan_hash=facts.hash,
        rehearsal=before.rehearsal if before else None,
    )


@step(key="{environment}:{revision}")
def apply_revision(
    tx: Connection,
    environment: str,
    revision: str,
    predicted_lock_ms: dict[str, float] | None = None,
    terminate_orphans: bool = False,
) -> Moved:
    """Apply one revision to the environment's database, and bring back what was archived of it.

    The DDL and its row in `headway.migration_run` are one transaction. It waits for locks at most
    `lock_timeout_seconds` and is then tried again; the error names the session in the way.
    """
    _wait_without_snapshot(tx)
    return effect(
        "upgrade",
        {"environment": environment, "revision": revision},
        act=lambda: moves.upgrade(
            environment,
            revision,
            predicted_lock_ms=predicted_lock_ms,
            terminate_orphans=terminate_orphans,
        ),
        probe=lambda: moves.find(environment, revision, "upgrade"),
        returns=Moved,
    )


@step(key="{environment}:{revision}")
def roll_back_revision(
    tx: Connection,
    environment: str,
    revision: str,
    taken: RevisionEffect,
    mapped: dict[str, str] | None = None,
    stored_only: tuple[str, ...] = (),
) -> Moved:
    """Undo one revision; what it takes away is archived in the transaction of its DDL.

    `taken` is what the rehearsal saw it take away. Rows are copied before, and brought up to
    date once nobody can write any more.
    """

    def undo() -> Moved:
        with stored.used(environment, stored_only):
            return moves.downgrade(
                environment,
                revision,
                taken,
                predicted_lock_ms=taken.lock_ms,
                mapped_values=mapped_values.of_labels(mapped or {}, taken.removed_enum_values),
            )

    _wait_without_snapshot(tx)
    return effect(
        "downgrade",
        {"environment": environment, "revision": revision},
        act=undo,
        probe=lambda: moves.find(environment, revision, "downgrade"),
        returns=Moved,
    )


@step(key="{environment}")
def archive_database(tx: Connection, environment: str) -> Archived:  # noqa: ARG001 - elsewhere
    """Copy every table with rows to schema `headway_archive`, before a reset; nobody is blocked."""
    target = environments.find(environment)
    project = target.project
    return archive.archive_everything(
        environments.engine(target.url),
        environment,
        current_run().id,
        schemas=project.schemas,
        ignore=project.ignore,
        version_table=(project.version_table_schema, project.version_table),
    )


@step(key="{environment}:{after}")
def validate_schema(
    tx: Connection,
    environment: str,
    after: str,  # noqa: ARG001 - part of the key
    before: tuple[str, ...] = (),
    moved: tuple[Moved, ...] = (),
    rehearsal: Rehearsal | None = None,
) -> Validated:
    """Compare the schema with what was rehearsed, and the changed tables with their suites.

    Lists invalid indexes and constraints that were never validated too, and keeps what the schema
    is from now on. Says whether to keep what was done, to roll it back, or to stop. `before` are
    the heads at which the run began, `after` names what was just done.
    """
    return validating.validate(tx, environment, before, moved, rehearsal)


@step(key="{environment}")
def accept_reformatting(
    tx: Connection,  # noqa: ARG001 - elsewhere
    environment: str,
    revisions: tuple[str, ...],
) -> tuple[str, ...]:
    """Record that the files of applied revisions were reformatted, and say the same as before."""
    target, run = environments.find(environment), current_run()
    with environments.engine(target.url).begin() as connection:
        return records.record_cosmetic(
            connection,
            target.project,
            revisions,
            Occasion(environment, run.id, run.actor, run.reason),
        )


def _wait_without_snapshot(tx: Connection) -> None:
    # While the DDL runs elsewhere this transaction only waits. The server must not end it for
    # that; and the portal of its last SELECT, which a command like this one replaces, would keep
    # a snapshot that CREATE INDEX CONCURRENTLY waits for when both databases are the same.
    tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _part(tx: Connection, name: str, judge: Rule, found: BaseModel, environment: str) -> Part:
    decided = decide(tx, judge, found, subject=f"migration:{environment}")
    verdict = decided.verdict
    return Part(name=name, decision_id=decided.id, verdict=verdict.verdict, reasons=verdict.reasons)


def _planned(tx: Connection, found: PlanEvidence) -> Planned:
    decided = decide(tx, judge_plan, found, subject=f"migration:{found.environment}")
    details: dict[str, Any] = decided.verdict.details
    return Planned(
        name="plan",
        decision_id=decided.id,
        verdict=decided.verdict.verdict,
        reasons=decided.verdict.reasons,
        environment=found.environment,
        direction=found.direction,
        revisions=tuple(PlannedRevision(**item) for item in details.get("revisions", ())),
        current=found.current,
        cosmetic=tuple(details.get("cosmetic", ())),
        stored_only=tuple(details.get("stored_only", ())),
    )
