"""Gather what updates of many bandits need, by a fixed number of statements for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isclose, isnan
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.analysis.quantiles import with_quantiles
from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm, BanditPolicy
from tasks.experiments.metrics import metrics
from tasks.experiments.quality import gathering as quality
from tasks.experiments.quality.model import QualityCheck, SuiteFindings
from tasks.experiments.statistics.ratios import JointMoments, ratio_of_means
from tasks.experiments.traffic.comparing import Figures, compare_arms, read_epochs

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Gathered:
    """One bandit as it was found; a row alone where it is none, or not on its way."""

    row: Any
    evidence: AllocationEvidence | None
    last: AllocationEvidence | None  # what its last update was made of


def gather(
    tx: Connection, experiment_ids: Sequence[str], suites: SuiteFindings | None
) -> list[Gathered]:
    """Lock the bandits and read all that an update may know of them, by name.

    Raises NotFound for one that is not there, and InputError for a policy that makes no sense.
    """
    asked: dict[str, Any] = {"experiment_ids": list(experiment_ids)}
    tx.execute(QUERIES["lock_experiments"], asked)
    rows = tx.execute(QUERIES["read_bandits"], asked).all()
    missing = {UUID(each) for each in experiment_ids} - {row.id for row in rows}
    if missing:
        raise NotFound(f"experiment {min(missing)} does not exist")
    due = [row for row in rows if row.policy is not None and row.status in {"active", "paused"}]
    asked = {"experiment_ids": [str(row.id) for row in due]}
    found = with_quantiles(tx, tx.execute(QUERIES["bandit_arms"], asked).all()) if due else []
    arms = {key: list(group) for key, group in groupby(found, lambda row: row.experiment_id)}
    epochs = read_epochs(tx, asked["experiment_ids"]) if due else {}
    checks = quality.gather(tx, [row.id for row in due], suites) if due else {}
    subjects = {"subjects": [subject_of(row.name) for row in due]}
    last = {row.subject: row for row in tx.execute(QUERIES["last_allocations"], subjects)}
    ids = {row.id for row in due}
    return [
        _gathered(
            row,
            arms.get(row.id, []),
            epochs.get(row.id, ()),
            checks.get(row.id, ()),
            last.get(subject_of(row.name)),
        )
        if row.id in ids
        else Gathered(row, None, None)
        for row in rows
    ]


def subject_of(experiment: str) -> str:
    """What decisions about the experiment are about."""
    return f"experiment:{experiment}"


def _gathered(
    row: Any,
    arms: Sequence[Any],
    epochs: Sequence[Any],
    checks: tuple[QualityCheck, ...],
    last: Any,
) -> Gathered:
    earlier = _earlier(last)
    weights = _weights(arms)
    left = {} if earlier is None else _left_at_zero(earlier, last.weights, weights)
    is_rate = bool(row.kind) and metrics.get(row.kind).is_rate
    compared = compare_arms(arms, epochs, is_rate=is_rate)
    evidence = AllocationEvidence(
        experiment=row.name,
        experiment_id=str(row.id),
        metric=row.metric or "",
        is_rate=is_rate,
        is_higher_better=row.is_higher_better is not False,
        policy=_policy(row),
        arms=tuple(
            _arm(arm, compared.get(arm.name), weights[arm.name], left.get(arm.name, False))
            for arm in arms
        ),
        hours=row.hours,
        checks=checks,
        is_paused=row.status == "paused",
        problem=_problem(row, arms),
    )
    return Gathered(row, evidence, earlier)


def _policy(row: Any) -> BanditPolicy:
    try:
        return BanditPolicy.model_validate(row.policy)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        message = f"the bandit policy of experiment {row.name!r} does not fit: {wrong}; edit it"
        raise InputError(message) from None


def _earlier(last: Any) -> AllocationEvidence | None:
    """What the last update was made of."""
    if last is None:
        return None
    try:
        return AllocationEvidence.model_validate(last.inputs)
    except ValidationError:
        return None  # of a version that knew other evidence: then this one is new


def _weights(arms: Sequence[Any]) -> dict[str, float]:
    """The split as it holds, scaled to 1: applications may have written weights of any scale."""
    weights = {arm.name: float(arm.weight) for arm in arms}
    total = sum(weights.values())
    if total <= 0 or isclose(total, 1, abs_tol=1e-6):
        return weights
    return {name: weight / total for name, weight in weights.items()}


def _left_at_zero(
    earlier: AllocationEvidence, left: Mapping[str, float], weights: Mapping[str, float]
) -> dict[str, bool]:
    """Arms that an update took to 0 itself, without a floor: nobody has switched them off."""
    if dict(left) != dict(weights):
        return {}
    return {arm.name: arm.is_open for arm in earlier.arms}


def _arm(row: Any, compared: Figures | None, weight: float, is_left_open: bool) -> BanditArm:
    n, mean, m2 = _moments(row)
    arm = BanditArm(name=row.name, weight=weight, n=n, mean=mean, m2=m2)
    if compared is not None and n:
        update = {"mean": compared.mean, "m2": compared.m2, "effective_n": compared.n}
        arm = arm.model_copy(update=update)
    return arm.model_copy(update={"is_open": weight > 0 or is_left_open})


def _moments(row: Any) -> tuple[int, float, float]:
    """Units, value and squares; of a ratio those that give the delta method's standard error."""
    if row.n is None:
        return 0, 0.0, 0.0
    if not row.has_denominator:
        return row.n, row.mean, row.m2
    joint = JointMoments(
        row.n, row.mean, row.m2, row.denominator_mean, row.denominator_m2, row.denominator_c2
    )
    found = ratio_of_means(joint)
    if isnan(found.value) or isnan(found.variance):
        return 0, 0.0, 0.0  # nothing to divide by yet, or too little to know its error
    return row.n, found.value, found.variance * (row.n - 1)


def _problem(row: Any, arms: Sequence[Any]) -> str:
    if row.metric is None:
        return "it has no primary metric"
    if any(arm.n is None for arm in arms):
        return "its statistics have not been worked out yet"
    return ""
