"""The split of an experiment's traffic over time: one epoch for every split that ever held."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound, Reason, Refused
from tasks.experiments.assignment.ranges import Range, moved_ranges

QUERIES = load_queries(__package__, "allocation.sql")


class NewSplit(NamedTuple):
    """What a split is to be from now on, by the names of the arms, and why."""

    experiment_id: UUID
    weights: Mapping[str, float]
    reason: str | None


def open_first_epoch(
    tx: Connection, experiment_id: UUID, actor: str | None, reason: str | None
) -> None:
    """Write epoch 1 with the weights that the variants have now; nothing where there is one."""
    _open_first_epochs(tx, [experiment_id], actor, reason)


def reallocate(
    tx: Connection,
    experiment_id: UUID,
    weights: Mapping[str, float],
    actor: str | None,
    reason: str | None,
) -> int:
    """Change the split for units that have no arm yet; returns the epoch that holds from now on.

    Who has an arm keeps it, and as few buckets as possible change hands. An arm at 0 gets nobody
    new. Weights that hold already open no new epoch.

    Args:
        tx: the transaction; other changes of the same split wait for it.
        experiment_id: an experiment that has started and not ended.
        weights: one for every variant, by name; together 1.
        actor: who changes it.
        reason: why.

    Raises InputError for weights that do not fit, NotFound, and Refused where the experiment is
    a draft (edit its plan) or over.
    """
    return reallocate_many(tx, [NewSplit(experiment_id, weights, reason)], actor)[experiment_id]


def reallocate_many(
    tx: Connection, splits: Sequence[NewSplit], actor: str | None
) -> dict[UUID, int]:
    """As `reallocate`, for many experiments by four statements; returns the epoch of each.

    What is wrong with one of them raises its error, and then none is changed.
    """
    ids = [split.experiment_id for split in splits]
    if not ids:
        return {}
    names = _lock(tx, ids)
    _open_first_epochs(tx, ids, actor, "the first split")
    asked = {"experiment_ids": ids}
    held = {row.experiment_id: row for row in tx.execute(QUERIES["current_splits"], asked)}
    epochs = {each: int(held[each].epoch) for each in ids}
    opened: list[dict[str, Any]] = []
    for split in splits:
        row = held[split.experiment_id]
        wanted = _checked(split.weights, row.weights, names[split.experiment_id])
        if wanted != row.weights:
            epochs[split.experiment_id] += 1
            ranges = moved_ranges([Range(*each) for each in row.ranges], list(wanted.items()))
            opened.append(
                {
                    "experiment_id": str(split.experiment_id),
                    "epoch": epochs[split.experiment_id],
                    "weights": wanted,
                    "ranges": ranges,
                    "reason": split.reason,
                }
            )
    if opened:
        tx.execute(QUERIES["open_epochs"], {"splits": json.dumps(opened), "actor": actor})
    return epochs


def _open_first_epochs(
    tx: Connection, experiment_ids: Sequence[UUID], actor: str | None, reason: str | None
) -> None:
    asked = {"experiment_ids": list(experiment_ids), "actor": actor, "reason": reason}
    tx.execute(QUERIES["open_first_epochs"], asked)


def _lock(tx: Connection, experiment_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Make other changes of the splits wait; returns the names of experiments that have one."""
    asked = {"experiment_ids": list(experiment_ids)}
    locked = {row.id: row for row in tx.execute(QUERIES["lock_allocations"], asked)}
    for each in experiment_ids:
        if each not in locked:
            raise NotFound(f"no experiment has the id {each}")
        _require_split(locked[each])
    return {each: str(row.name) for each, row in locked.items()}


def _require_split(row: Any) -> None:
    if row.status in {"active", "paused"}:
        return
    is_draft = row.status == "draft"
    code, advice = ("draft", "; edit its plan instead") if is_draft else ("over", "")
    message = f"its split cannot change: it is {row.status}{advice}"
    raise Refused(f"experiment {row.name}", [Reason(code, message)])


def _checked(
    weights: Mapping[str, float], known: Mapping[str, float], experiment: str
) -> dict[str, float]:
    """The weights in the order of assignment; InputError where they are no split of these arms."""
    unknown, missing = sorted(set(weights) - set(known)), sorted(set(known) - set(weights))
    if unknown or missing:
        raise InputError(
            f"experiment {experiment!r} needs a weight for each of {', '.join(known)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    for name, weight in weights.items():
        if not isfinite(weight) or not 0 <= weight <= 1:
            raise InputError(f"the weight of {name!r} lies between 0 and 1, not {weight!r}")
    total = sum(weights.values())
    if not isclose(total, 1, abs_tol=1e-6):
        told = ", ".join(f"{name} {weights[name]:g}" for name in known)
        raise InputError(f"the weights must add up to 1, not {total:g}: {told}")
    return {name: abs(float(weights[name])) for name in known}  # -0.0 is 0
