"""Write down what looks came to: their figures, and the result columns of what was looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.decisions import Decided
from tasks.experiments.analysis.gathering import Observed
from tasks.experiments.analysis.wishing import keep_wishes
from tasks.experiments.decision.automation import is_automatic
from tasks.experiments.decision.rollout import RolloutWish
from tasks.experiments.metrics import metrics

QUERIES = load_queries(__package__)
_COMPARED = ("difference", "lower", "upper", "statistic", "p_value", "z")


class Decision(NamedTuple):
    """One look, decided."""

    observed: Observed
    decided: Decided
    inputs_hash: str

    @property
    def details(self) -> dict[str, Any]:
        """The figures of the verdict."""
        return self.decided.verdict.details


def record(tx: Connection, decisions: Sequence[Decision]) -> None:
    """Write the looks of a batch and fill the result columns, all in the caller's transaction."""
    rows = {
        "looks": [row for each in decisions for row in _looks(each)],
        "variants": [row for each in decisions for row in _variants(each)],
        "experiments": [_experiment(each) for each in decisions],
    }
    written = {name: jsonb.dump(listed) for name, listed in rows.items()}
    tx.execute(QUERIES["record_batch"], written)
    keep_wishes(tx, [wish for each in decisions for wish in _rollouts(each)])


def _looks(each: Decision) -> Iterator[dict[str, Any]]:
    """One row for every arm and metric; the primary metric's carry the bounds."""
    details = each.details
    shown = {
        (metric["name"], arm["name"]): arm
        for metric in details["metrics"]
        for arm in metric["arms"]
    }
    tests = {arm["name"]: arm for arm in details["arms"]}
    for row in each.observed.arms:
        if row.n is None:
            continue
        found = shown.get((row.metric, row.name), {})
        test = tests.get(row.name, {}) if row.role == "primary" else {}
        yield {
            **{name: found.get(name) for name in _COMPARED},
            **{n: getattr(row, n) for n in ("assigned", "events", "n", "mean", "m2")},
            "experiment_id": row.experiment_id,
            "metric_id": row.metric_id,
            "variant_id": row.variant_id,
            "look_number": details["look_number"],
            "fraction": each.observed.evidence.fraction,
            "is_usable": details["is_usable"],
            "bound": test.get("bound"),
            "alpha_spent": test.get("alpha_spent"),
            "is_significant": found.get("outcome") in {"better", "harm", "failed"},
            "inputs_hash": each.inputs_hash,
            "decision_id": each.decided.id,
        }


def _variants(each: Decision) -> Iterator[dict[str, Any]]:
    """The result columns of each arm, by the primary metric; the interval is of its own value."""
    primary = each.observed.evidence.primary
    kind = metrics.get(primary.kind)
    for row, arm in zip(each.observed.primary, primary.arms, strict=True):
        lower, upper = kind.interval(arm.moments, each.observed.evidence.plan.terms.alpha)
        yield {
            "variant_id": row.variant_id,
            "assigned": arm.assigned,
            "converted": arm.converted,
            "total": arm.mean * arm.n,
            "lower": lower,
            "upper": upper,
        }


def _experiment(each: Decision) -> dict[str, Any]:
    return {
        "experiment_id": each.observed.plan.id,
        "is_selected": is_automatic(each.observed.evidence),
        "winner": each.details["winner"],
        "significance": each.details["significance"],
        "is_over": each.details["ending"] is not None,
    }


def _rollouts(each: Decision) -> Iterator[RolloutWish]:
    """The rollout that the plan asks for, once the winner is another one than before."""
    plan, winner = each.observed.plan, each.details["winner"]
    if plan.policy != "roll_out" or not is_automatic(each.observed.evidence):
        return
    if winner is not None and winner != plan.winner:
        (version,) = (r.model_version for r in each.observed.primary if r.name == winner)
        yield RolloutWish(
            experiment=plan.name,
            winner=winner,
            model_version=version,
            decision_id=each.decided.id,
        )
