"""Wishes that winners be rolled out: one for each winner of an experiment, ever."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.decisions import decide_many
from tasks.experiments.decision.rollout import RolloutWish, wish_rollout

QUERIES = load_queries(__package__)


def keep_wishes(tx: Connection, wishes: Sequence[RolloutWish]) -> None:
    """Record each wish that was not recorded before; the caller holds its experiment's row.

    A winner may be lost at one look and come back at a later one; so may a person choose it.
    """
    if not wishes:
        return
    subjects = {f"experiment:{wish.experiment}": wish for wish in wishes}
    rows = tx.execute(QUERIES["wished_winners"], {"subjects": list(subjects)})
    known = {(row.subject, row.winner) for row in rows}
    new = [
        (subject, wish) for subject, wish in subjects.items() if (subject, wish.winner) not in known
    ]
    decide_many(tx, wish_rollout, new)
