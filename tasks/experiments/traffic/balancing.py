"""Bring the split of a fixed design back to the one that it started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import Decided, decide
from tasks.errors import NotFound, Reason, Refused
from tasks.experiments.assignment.allocation import open_first_epoch, reallocate
from tasks.experiments.bandits.balance import balance_traffic
from tasks.experiments.bandits.evidence import BalanceEvidence, PlannedArm
from tasks.experiments.quality import gathering as quality
from tasks.experiments.traffic.gathering import subject_of
from tasks.experiments.traffic.results import Balanced, Bandit
from tasks.runs import active_run

QUERIES = load_queries(__package__)
ACTOR = "balance-traffic"  # of epochs that nobody asked for by name
_OF_THE_RATIO = {"srm", "srm-sequential"}
Cause = Literal["srm", "operator"]


def list_unbalanced(tx: Connection) -> list[Bandit]:
    """List active fixed designs off their plan whose units do not come as their split says."""
    rows = tx.execute(QUERIES["list_unbalanced"]).all()
    checks = quality.gather(tx, [UUID(row.id) for row in rows]) if rows else {}
    failed = {
        experiment_id
        for experiment_id, made in checks.items()
        if any(check.name in _OF_THE_RATIO and check.outcome == "failed" for check in made)
    }
    return [Bandit(id=row.id, name=row.name) for row in rows if UUID(row.id) in failed]


def balance(tx: Connection, experiment: str, cause: Cause) -> Balanced:
    """Bring one experiment's split back to its plan, and record why.

    A person gets the whole plan. Where it is the sample ratio that asks, an arm that is switched
    off stays so, and the others share its part.

    Raises NotFound, and Refused for a bandit, a draft, and what is over.
    """
    row = tx.execute(QUERIES["lock_balanced"], {"experiment": experiment}).first()
    if row is None:
        raise NotFound(f"no experiment is called {experiment!r}")
    reasons = _reasons_against(row)
    if reasons:
        raise Refused(f"balancing the traffic of experiment {experiment}", reasons)
    open_first_epoch(tx, row.id, ACTOR, "the first split")
    arms = tx.execute(QUERIES["planned_arms"], {"experiment_id": row.id}).all()
    evidence = BalanceEvidence(
        experiment=experiment,
        experiment_id=str(row.id),
        cause=cause,
        arms=_planned(arms, is_whole=cause == "operator"),
    )
    decided = decide(tx, balance_traffic, evidence, subject=subject_of(experiment))
    return _balanced(tx, evidence, decided)


def _reasons_against(row: Any) -> list[Reason]:
    if row.is_bandit:
        message = "It is a bandit: its split follows its figures (headway experiment allocate)."
        return [Reason("bandit", message)]
    if row.status in {"active", "paused"}:
        return []
    code = "draft" if row.status == "draft" else "over"
    return [Reason(code, f"It is {row.status}: its split cannot change.")]


def _planned(arms: Sequence[Any], *, is_whole: bool) -> tuple[PlannedArm, ...]:
    """The plan; without the arms that were switched off since, unless it is to be whole."""
    wanted = {arm.name: arm.planned_weight if is_whole or arm.weight > 0 else 0.0 for arm in arms}
    total = sum(wanted.values())
    if total <= 0:  # only arms have traffic that were to have none: there is no plan to go back to
        wanted, total = {arm.name: arm.weight for arm in arms}, 1.0
    if total < 1 - 1e-9:
        wanted = {name: weight / total for name, weight in wanted.items()}
    return tuple(
        PlannedArm(name=arm.name, weight=arm.weight, planned_weight=min(wanted[arm.name], 1.0))
        for arm in arms
    )


def _balanced(tx: Connection, evidence: BalanceEvidence, decided: Decided) -> Balanced:
    verdict, epoch = decided.verdict, None
    if verdict.verdict == "changed":
        run = active_run()
        who, why = (run.actor, run.reason) if run else (None, None)
        told = " ".join(filter(None, [verdict.reasons[0].message, why]))
        weights = verdict.details["weights"]
        epoch = reallocate(tx, UUID(evidence.experiment_id), weights, who or ACTOR, told)
    return Balanced(
        experiment=evidence.experiment,
        outcome="changed" if epoch else "held",
        code=verdict.reasons[0].code,
        message=verdict.reasons[0].message,
        weights=verdict.details["weights"],
        epoch=epoch,
        decision_id=decided.id,
    )
