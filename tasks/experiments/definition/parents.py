"""The experiment that a segment was cut out of."""

from __future__ import annotations

from difflib import get_close_matches

from sqlalchemy import Connection

from tasks.errors import NotFound
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.reading import QUERIES


def check_parent(tx: Connection, plan: ExperimentPlan) -> None:
    """Raise NotFound, with the nearest name, where `segment_of` names no experiment."""
    parent = plan.segment_of
    if parent is None or tx.scalar(QUERIES["experiment_exists"], {"name": parent}):
        return
    near = get_close_matches(parent, tx.scalars(QUERIES["experiment_names"]).all(), n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"segment_of names no experiment: none is called {parent!r}{meant}")
