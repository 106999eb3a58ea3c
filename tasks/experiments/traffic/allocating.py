"""Update bandits: gather, judge, write down; everything set by set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Decided, decide_many
from tasks.errors import NotFound, Reason, Refused
from tasks.experiments.assignment.allocation import NewSplit, reallocate_many
from tasks.experiments.bandits.allocation import allocate_many, allocate_traffic
from tasks.experiments.bandits.evidence import AllocationEvidence
from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.traffic.gathering import Gathered, gather, subject_of
from tasks.experiments.traffic.novelty import is_same
from tasks.experiments.traffic.results import Allocated, Bandit
from tasks.runs import active_run

QUERIES = load_queries(__package__)
ACTOR = "allocate-traffic"  # of epochs that nobody asked for by name


def list_bandits(tx: Connection, experiment: str | None = None) -> list[Bandit]:
    """List all active bandits, or the one that is asked for, also when it is paused.

    Raises NotFound, and Refused for a fixed design, a draft, and what is over.
    """
    rows = tx.execute(QUERIES["list_bandits"], {"experiment": experiment}).all()
    if experiment is not None:
        if not rows:
            raise NotFound(f"no experiment is called {experiment!r}")
        reasons = _reasons_against(rows[0].status, is_bandit=rows[0].is_bandit)
        if reasons:
            raise Refused(f"allocating the traffic of experiment {experiment}", reasons)
    return [Bandit(id=row.id, name=row.name) for row in rows]


def _reasons_against(status: str, *, is_bandit: bool) -> list[Reason]:
    if not is_bandit:
        message = "It is no bandit: its split is fixed; edit its weights to change it."
        return [Reason("fixed-design", message)]
    if status in {"active", "paused"}:
        return []
    code = "draft" if status == "draft" else "over"
    return [Reason(code, f"It is {status}: there is no traffic to allocate.")]


def allocate(
    tx: Connection, experiment_ids: Sequence[str], suites: SuiteFindings | None
) -> list[Allocated]:
    """Update bandits, all in the caller's transaction; a fixed number of statements.

    Skipped are those with nothing new since their last update, so that one that comes late, twice
    or at the same time as another moves nothing. What is wrong with one of them raises its error,
    and then none was updated.
    """
    found = gather(tx, experiment_ids, suites)
    due = [(each, each.evidence) for each in found if each.evidence is not None]
    new = [evidence for each, evidence in due if not _is_known(each, evidence)]
    decided = decide_many(
        tx,
        allocate_traffic,
        [(subject_of(evidence.experiment), evidence) for evidence in new],
        judge_many=allocate_many,
    )
    epochs = _open_epochs(tx, new, decided)
    updated = {
        evidence.experiment: _updated(evidence, decision, epochs.get(evidence.experiment_id))
        for evidence, decision in zip(new, decided, strict=True)
    }
    return [updated.get(each.row.name) or _skipped(each) for each in found]


def with_arms(connection: Connection, updates: Sequence[Allocated]) -> list[Allocated]:
    """The updates with how each arm stood; a step leaves that to the decisions.

    Where nothing was new that is how they stood at the last update, with the shares of now.
    """
    asked = {
        "subjects": [subject_of(each.experiment) for each in updates],
        "decision_ids": [each.decision_id for each in updates],
    }
    told = {row.subject: row for row in connection.execute(QUERIES["standings"], asked)}
    return [_with_arms(each, told.get(subject_of(each.experiment))) for each in updates]


def _with_arms(update: Allocated, told: Any) -> Allocated:
    if told is None:
        return update
    arms = tuple(
        {**arm, "weight": update.weights.get(arm["name"], arm["weight"])} for arm in told.arms
    )
    notes = [each["message"] for each in told.reasons[1:]] if update.decision_id is None else []
    message = ". ".join([update.message, " ".join(notes)]) if notes else update.message
    return update.model_copy(update={"arms": arms, "message": message})


def _is_known(each: Gathered, evidence: AllocationEvidence) -> bool:
    return each.last is not None and is_same(each.last, evidence)


def _open_epochs(
    tx: Connection, judged: Sequence[AllocationEvidence], decided: Sequence[Decided]
) -> dict[str, int]:
    splits = [
        NewSplit(
            UUID(evidence.experiment_id),
            each.verdict.details["weights"],
            each.verdict.reasons[0].message,
        )
        for evidence, each in zip(judged, decided, strict=True)
        if each.verdict.verdict == "changed"
    ]
    run = active_run()
    epochs = reallocate_many(tx, splits, run.actor if run and run.actor else ACTOR)
    return {str(experiment_id): epoch for experiment_id, epoch in epochs.items()}


def _updated(evidence: AllocationEvidence, decided: Decided, epoch: int | None) -> Allocated:
    verdict = decided.verdict
    return Allocated(
        experiment=evidence.experiment,
        outcome="changed" if verdict.verdict == "changed" else "held",
        code=verdict.reasons[0].code,
        message=" ".join(reason.message for reason in verdict.reasons),
        weights=verdict.details["weights"],
        epoch=epoch,
        decision_id=decided.id,
    )


def _skipped(each: Gathered) -> Allocated:
    if each.evidence is None:
        is_bandit = each.row.policy is not None
        code = "not-running" if is_bandit else "fixed-design"
        message = f"it is {each.row.status}" if is_bandit else "it is no bandit"
        return Allocated(
            experiment=each.row.name, outcome="skipped", code=code, message=message, weights={}
        )
    return Allocated(
        experiment=each.row.name,
        outcome="skipped",
        code="nothing-new",
        message="nothing is new since its last update",
        weights={arm.name: arm.weight for arm in each.evidence.arms},
    )
