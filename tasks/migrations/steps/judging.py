"""The steps that judge a change before it is made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from tasks.decisions import Rule, decide
from tasks.ledger import current_run, step
from tasks.migrations import environments
from tasks.migrations.drift.evidence import gather as gather_drift
from tasks.migrations.drift.judge import judge_drift
from tasks.migrations.hazards.judge import judge_hazards
from tasks.migrations.hazards.review import review
from tasks.migrations.plans import saved_plans
from tasks.migrations.plans.gate import GateEvidence, Part, PlanFacts, judge_gate
from tasks.migrations.plans.prepared import (
    DriftFound,
    Gated,
    HazardsFound,
    Planned,
    PlannedRevision,
    Rehearsed,
)
from tasks.migrations.preflight import probing
from tasks.migrations.preflight.judge import judge_preflight
from tasks.migrations.rehearsal import rehearsing
from tasks.migrations.rehearsal.judge import RehearsalEvidence, judge_rehearsal
from tasks.migrations.rehearsal.model import Rehearsal, RevisionEffect
from tasks.migrations.revision_graph import evidence, stored
from tasks.migrations.revision_graph.plan import Direction, PlanEvidence, judge_plan
from tasks.migrations.sync import plan as sync
from tasks.migrations.sync import predecessors
from tasks.migrations.sync.promotion import judge_promotion


@step(key="{environment}:{target}")
def plan_migrations(
    tx: Connection, environment: str, target: str = "head", run_spliced: bool = False
) -> Planned:
    """Find out which revisions the environment's database lacks, and record the decision.

    Nothing is changed. Refused, with the files named, if there are several heads, missing or
    duplicate revisions, a file that was edited after it was applied, one that came late below the
    head, or a database at a revision that no file defines. What the environments before it have
    not passed is a warning in the log.
    """
    asked = {"target": target, "run_spliced": run_spliced}
    planned = _planned(tx, evidence.gather(environment).model_copy(update=asked))
    if planned.revisions:
        predecessors.warn(environment, target)
    return planned


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
        half_done=tuple(decided.verdict.details.get("half_done", ())),
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
    is_promotion: bool = False,
    stored_only: tuple[str, ...] = (),
    mapped: dict[str, str] | None = None,
) -> Rehearsed:
    """Try the revisions out on a copy of the database: there, back, and there again.

    The copy is a scratch database, dropped afterwards. Every statement is measured: how long it
    takes, what it locks, scans and writes anew. Refused if a statement fails, a table would be
    blocked for longer than the environment allows, or the way back loses schema or rows. Quickly:
    only once, on a copy without rows, to see what the revisions take away. `mapped` says what
    rows get in place of an enum value that goes.
    """
    with stored.used(environment, stored_only):
        target = environments.find(environment)
        found = rehearsing.try_out(target, revisions, direction, mapped or {}, is_quick=is_quick)
    judged = RehearsalEvidence(rehearsal=found, max_lock_seconds=target.max_lock_seconds)
    part = _part(tx, "rehearsal", judge_rehearsal, judged, environment)
    promotion = (_promotion(tx, environment, found),) if is_promotion else ()
    return Rehearsed(**part.model_dump(), rehearsal=found, promotion=promotion)


@step(key="{environment}:{direction}")
def review_hazards(
    tx: Connection,
    environment: str,
    revisions: tuple[str, ...],
    direction: Direction,
    approve: tuple[str, ...] = (),
    rehearsal: Rehearsal | None = None,
    stored_only: tuple[str, ...] = (),
    mapped: dict[str, str] | None = None,
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
            mapped=tuple(mapped or ()),
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


def _promotion(tx: Connection, environment: str, rehearsal: Rehearsal) -> Part:
    goals = evidence.heads_after(environment, rehearsal.revisions)
    found = sync.gather_promotion(environment, goals, rehearsal.after)
    return _part(tx, "promotion", judge_promotion, found, environment)


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
        unverified=(*details.get("unverified", ()), *details.get("stamped", ())),
        cosmetic=tuple(details.get("cosmetic", ())),
        stored_only=tuple(details.get("stored_only", ())),
    )
