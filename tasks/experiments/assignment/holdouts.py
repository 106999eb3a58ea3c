"""Holdouts are asked before an experiment lets units in: who is held out takes part in nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from tasks.experiments.assignment.choosing_many import (
    QUERIES,
    assign_chosen,
    choose_units,
    lock_split,
)

_ASKED, _ANSWERED = "asked_unit", "answered_unit"


def refuse_held_out(tx: Connection, experiment_id: UUID) -> None:
    """Ask the holdouts about the chosen units that would get an arm, one after the other by name.

    An active holdout gives them its own arms, for good. Units that it holds out lose theirs in
    `chosen_unit`, and the next one is not asked about them: as it is for one unit alone.
    """
    asked = {"experiment_id": experiment_id}
    holdouts = tx.execute(QUERIES["asked_holdouts"], asked).all()
    if not holdouts:
        return
    tx.execute(QUERIES["create_asked_units"])
    tx.execute(QUERIES["choose_asked"], asked)
    tx.execute(text(f"ANALYZE {_ASKED}"))
    for holdout in holdouts:
        _ask(tx, holdout)


def _ask(tx: Connection, holdout: Row[Any]) -> None:
    split = lock_split(tx, holdout.name)
    if split is None:
        return  # deleted meanwhile
    if split.status == "active":
        choose_units(tx, split, _ASKED, _ANSWERED)
        assign_chosen(tx, split, _ASKED, _ANSWERED)
        tx.execute(text(f"DROP TABLE {_ANSWERED}"))
    held_out = {"holdout_id": split.experiment_id, "held_out": holdout.held_out}
    tx.execute(QUERIES["refuse_held_out"], held_out)
