"""What the calendar asks for: start what is due, complete what has ended."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.errors import InputError, NotFound, Refused
from tasks.experiments.definition.changing import ChangedExperiment, change
from tasks.experiments.definition.lifecycle import Action
from tasks.experiments.definition.reading import QUERIES

_WHY = {"start": "its starts_at has come", "complete": "its ends_at has passed"}


class ScheduledChanges(BaseModel):
    """What the calendar changed, and what it could not, with the reason."""

    model_config = ConfigDict(frozen=True)

    changed: tuple[ChangedExperiment, ...] = ()
    failures: dict[str, str] = {}


def due_changes(tx: Connection) -> list[tuple[str, Action]]:
    """Experiments whose time to start or to end has come, and which of the two."""
    return [(row.name, row.action) for row in tx.execute(QUERIES["due_changes"])]


def apply_schedule(tx: Connection) -> ScheduledChanges:
    """Start the drafts whose time has come, complete what has ended; one that fails stops no other.

    What has ended is completed once it was looked at after its end, or an hour later.
    """
    changed, failures = [], {}
    for name, action in due_changes(tx):
        try:
            with tx.begin_nested():
                changed.append(change(tx, name, action, actor="schedule", reason=_WHY[action]))
        except (Refused, NotFound, InputError) as error:
            failures[name] = str(error)
    return ScheduledChanges(changed=tuple(changed), failures=failures)
