"""Look at a batch of experiments: gather, decide, write down; everything set by set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from tasks.decisions import decide_many
from tasks.experiments.analysis.gathering import Observed, observe
from tasks.experiments.analysis.novelty import inputs_hash
from tasks.experiments.analysis.recording import Decision, record
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.decision.winner import decide_winner
from tasks.experiments.quality.model import SuiteFindings


def look(
    tx: Connection, experiment_ids: Sequence[str], suites: SuiteFindings | None
) -> list[Analysis]:
    """Look at the experiments, all in the caller's transaction.

    Those that are no longer active, or have nothing new since their last look, are skipped. What
    is wrong with one of them raises its error, and then none was looked at.
    """
    batch = observe(tx, experiment_ids, suites)
    hashes = {each.plan.id: inputs_hash(each.evidence) for each in batch.observed}
    new = [each for each in batch.observed if hashes[each.plan.id] != each.last_hash]
    decided = decide_many(
        tx, decide_winner, [(f"experiment:{each.plan.name}", each.evidence) for each in new]
    )
    decisions = [
        Decision(each, decision, hashes[each.plan.id])
        for each, decision in zip(new, decided, strict=True)
    ]
    if decisions:
        record(tx, decisions)
    return [*map(_analysis, decisions), *_skipped(batch.inactive, batch.observed, decisions)]


def _analysis(each: Decision) -> Analysis:
    evidence, verdict = each.observed.evidence, each.decided.verdict
    return Analysis(
        experiment=evidence.experiment,
        experiment_id=evidence.experiment_id,
        metric=evidence.primary.name,
        kind=evidence.primary.kind,
        is_skipped=False,
        is_over=each.details["ending"] is not None,
        message=verdict.reasons[0].message,
        fraction=evidence.fraction,
        winner=each.details["winner"],
        decision_id=each.decided.id,
    )


def _skipped(
    inactive: Sequence[Any], observed: Sequence[Observed], decisions: Sequence[Decision]
) -> Iterator[Analysis]:
    for row in inactive:
        yield Analysis(experiment=row.name, is_skipped=True, message=f"it is {row.status}")
    looked_at = {each.observed.plan.id for each in decisions}
    for each in observed:
        if each.plan.id not in looked_at:
            yield Analysis(
                experiment=each.plan.name,
                metric=each.evidence.primary.name,
                is_skipped=True,
                message="nothing is new since its last look",
            )
