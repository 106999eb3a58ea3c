"""Rehearse revisions as they are really run: with the archive, and with enum values mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from tasks.ledger import current_run
from tasks.migrations import archive
from tasks.migrations.archive import mapped_values
from tasks.migrations.archive.model import EnumLabel
from tasks.migrations.environments import Target
from tasks.migrations.project import Project
from tasks.migrations.rehearsal.keeping import Keeping
from tasks.migrations.rehearsal.model import Rehearsal
from tasks.migrations.rehearsal.passes import Move
from tasks.migrations.rehearsal.rehearse import find_effects, plain_downgrade, rehearse
from tasks.migrations.revision_graph.plan import Direction


def try_out(
    target: Target,
    revisions: Sequence[str],
    direction: Direction,
    mapped: Mapping[str, str],
    *,
    is_quick: bool = False,
) -> Rehearsal:
    """Try the revisions on copies; quickly: only to see what they take away.

    Where a downgrade fails on the rows, what it would take away is found on a copy without them.

    Raises:
        InputError: a value is mapped that stays.
        Refused, CopyFailed: as ``rehearse``.
    """
    known = find_effects(target, revisions, direction) if is_quick or mapped else None
    labels = _labels(mapped, known) if known else {}
    if known is not None and is_quick:
        return known
    ways = Keeping(target.name, current_run().id, mapped if direction == "downgrade" else None)
    found = rehearse(
        target,
        revisions,
        direction,
        upgrade=ways.upgrade,
        downgrade=ways.downgrade,
        undo=_mapping(labels) if labels else plain_downgrade,
    )
    if found.failure and direction == "downgrade":
        effects = (known or find_effects(target, revisions, direction)).effects
        return found.model_copy(update={"effects": effects})
    return found


def _labels(mapped: Mapping[str, str], known: Rehearsal) -> dict[str, dict[EnumLabel, str]]:
    """What is mapped at the downgrade of which revision."""
    removed = {effect.revision: effect.removed_enum_values for effect in known.effects}
    mapped_values.require_all_used(mapped, [label for each in removed.values() for label in each])
    return {revision: mapped_values.of_labels(mapped, each) for revision, each in removed.items()}


def _mapping(labels: Mapping[str, Mapping[EnumLabel, str]]) -> Move:
    def undo(connection: Connection, project: Project, revision: str) -> None:
        # On a connection of its own: it is nothing that the revision does.
        with connection.engine.begin() as other:
            archive.map_enum_values(other, labels.get(revision, {}))
        plain_downgrade(connection, project, revision)

    return undo
