"""The split of an experiment's traffic over time: one epoch for every split that ever held."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isclose, isfinite
from uuid import UUID

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError, NotFound, Reason, Refused
from tasks.experiments.assignment.ranges import Range, moved_ranges

QUERIES = load_queries(__package__)


def open_first_epoch(
    tx: Connection, experiment_id: UUID, actor: str | None, reason: str | None
) -> None:
    """Write epoch 1 with the weights that the variants have now; nothing where there is one."""
    tx.execute(
        QUERIES["open_first_epoch"],
        {"experiment_id": experiment_id, "actor": actor, "reason": reason},
    )


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
    name = _lock(tx, experiment_id)
    open_first_epoch(tx, experiment_id, actor, "the first split")
    held = tx.execute(QUERIES["current_split"], {"experiment_id": experiment_id}).one()
    wanted = _checked(weights, held.weights, name)
    if wanted == held.weights:
        return int(held.epoch)
    ranges = moved_ranges([Range(*each) for each in held.ranges], list(wanted.items()))
    epoch = int(held.epoch) + 1
    split = {"weights": json.dumps(wanted), "ranges": json.dumps(ranges)}
    who = {"actor": actor, "reason": reason}
    tx.execute(
        QUERIES["open_epoch"], {"experiment_id": experiment_id, "epoch": epoch} | split | who
    )
    return epoch


def _lock(tx: Connection, experiment_id: UUID) -> str:
    """Make other changes of the split wait; returns the name of an experiment that has one."""
    locked = tx.execute(QUERIES["lock_allocation"], {"experiment_id": experiment_id}).first()
    if locked is None:
        raise NotFound(f"no experiment has the id {experiment_id}")
    if locked.status not in {"active", "paused"}:
        is_draft = locked.status == "draft"
        code, advice = ("draft", "; edit its plan instead") if is_draft else ("over", "")
        message = f"its split cannot change: it is {locked.status}{advice}"
        raise Refused(f"experiment {locked.name}", [Reason(code, message)])
    return str(locked.name)


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
        raise InputError(f"the weights must add up to 1, not {total:g}")
    return {name: abs(float(weights[name])) for name in known}  # -0.0 is 0
