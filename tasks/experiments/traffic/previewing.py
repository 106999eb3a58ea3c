"""What an update of bandits would come to, without doing it."""

from __future__ import annotations

from tasks.database import control_engine, control_url
from tasks.experiments.folding.folding import fold
from tasks.experiments.quality.suites import run_suites
from tasks.experiments.traffic.allocating import allocate, list_bandits, with_arms
from tasks.experiments.traffic.checking import last_findings
from tasks.experiments.traffic.results import Allocated


def preview(experiment: str | None = None) -> list[Allocated]:
    """Do the whole update of all active bandits, or of one, and take it back.

    The decisions that it names are gone with it. Raises as `list_bandits` and `allocate` do.
    """
    with control_engine().connect() as connection:
        ids = [each.id for each in list_bandits(connection, experiment)]
        if not ids:
            return []
        suites = last_findings(connection) or run_suites(connection, control_url())
        fold(connection, ids)
        updates = allocate(connection, ids, suites)
        shown = with_arms(connection, updates)
        connection.rollback()
    return [each.model_copy(update={"decision_id": None, "epoch": None}) for each in shown]
