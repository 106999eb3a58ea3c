"""Which revisions are applied, as the rows of the history add up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.integrity import AppliedRevision
from tasks.migrations.revision_graph.script import Script

BASE = "base"


class Event(BaseModel):
    """A row of the history that succeeded: a revision moved, stamped, adopted or reformatted.

    The revision of a stamp may be several, separated by commas, or `base`; ``parents`` is what
    the row has of the revisions on the other side, separated the same way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    position: int
    revision: str
    parents: str | None = None
    direction: str
    checksum: str | None = None
    script_checksum: str | None = None
    is_stored: bool = False
    is_verified: bool = False
    actor: str | None = None
    at: datetime | None = None


def add_up(scripts: Sequence[Script], events: Iterable[Event]) -> tuple[AppliedRevision, ...]:
    """The revisions that are applied after these events, in the order in which they were."""
    applied: dict[str, AppliedRevision] = {}
    for event in events:
        if event.direction == "downgrade":
            applied.pop(event.revision, None)
        elif event.direction == "cosmetic":
            _reformat(applied, event)
        elif event.direction == "stamp":
            applied = _stamp(scripts, applied, event)
        else:
            applied[event.revision] = _applied(event)
    return tuple(sorted(applied.values(), key=lambda item: item.position))


def _applied(event: Event) -> AppliedRevision:
    return AppliedRevision(
        revision=event.revision,
        position=event.position,
        checksum=event.checksum,
        script_checksum=event.script_checksum,
        parents=_parents(event),
        is_verified=event.is_verified,
        is_stored=event.is_stored,
        actor=event.actor,
        applied_at=event.at,
    )


def _parents(event: Event) -> tuple[str, ...] | None:
    # Every upgrade writes what it built on: there, nothing means the first revision.
    if event.parents is None and event.direction != "upgrade":
        return None
    return tuple(_named(event.parents))


def _reformat(applied: dict[str, AppliedRevision], event: Event) -> None:
    if event.revision in applied:
        update = {
            "checksum": event.checksum,
            "script_checksum": event.script_checksum,
            "is_stored": event.is_stored,
        }
        applied[event.revision] = applied[event.revision].model_copy(update=update)


def _stamp(
    scripts: Sequence[Script], applied: dict[str, AppliedRevision], event: Event
) -> dict[str, AppliedRevision]:
    """What was above the stamp is gone, what is below it and was not there is stamped."""
    left = graph.with_ancestors(scripts, _named(event.parents)) | set(_named(event.parents))
    kept = applied.keys() - left
    kept |= applied.keys() & graph.with_ancestors(scripts, kept)
    goals = tuple(_named(event.revision))
    said = graph.with_ancestors(scripts, goals) | set(goals)
    result = {revision: applied[revision] for revision in applied if revision in kept | said}
    for revision in said - result.keys():
        stamped = _applied(event).model_copy(
            update={"revision": revision, "is_stamped": True, "parents": None}
        )
        result[revision] = stamped if (revision,) == goals else _without_content(stamped)
    return result


def _without_content(item: AppliedRevision) -> AppliedRevision:
    # The row holds the content of the revision that it names, not of those below.
    update = {"checksum": None, "script_checksum": None, "is_stored": False}
    return item.model_copy(update=update)


def _named(listed: str | None) -> Iterator[str]:
    return (each for each in (listed or "").split(",") if each and each != BASE)
