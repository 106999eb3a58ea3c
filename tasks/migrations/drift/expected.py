"""What a database's schema should be: what its own revisions made of it, never the newest code."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.migrations.drift import accepted
from tasks.migrations.drift.judge import Origin
from tasks.migrations.drift.rebuild import CannotRebuild, rebuild
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint.model import FORMAT, Fingerprint
from tasks.migrations.revision_graph.heads import current_heads

QUERIES = load_queries(__package__)


class Expected(BaseModel):
    """The fingerprint that a database should have at its heads, and where that is known from."""

    model_config = ConfigDict(frozen=True)

    heads: tuple[str, ...]
    origin: Origin
    fingerprint: Fingerprint | None = None
    problem: str | None = None


def expect(connection: Connection, target: Target) -> Expected:
    """What was recorded last at the database's own heads, else what its revisions make elsewhere.

    At base nothing is promised. What cannot be known is unknown, with the reason.
    """
    heads = current_heads(connection, target.project)
    found = recorded(connection, heads)
    if found is not None:
        return Expected(heads=heads, origin="recorded", fingerprint=found)
    if not heads:
        return Expected(heads=heads, origin="nothing-promised")
    try:
        return Expected(heads=heads, origin="rebuilt", fingerprint=rebuild(target, heads))
    except CannotRebuild as error:
        return Expected(heads=heads, origin="unknown", problem=str(error))


def recorded(connection: Connection, heads: Sequence[str]) -> Fingerprint | None:
    """The newest fingerprint that was recorded at these heads; None if there is none of use.

    One that an older release recorded, which read other attributes, is of no use.
    """
    if not connection.scalar(QUERIES["tables_exist"]):
        return None
    asked = {"heads": sorted(heads)}
    row = connection.execute(QUERIES["newest_fingerprint"], asked).one_or_none()
    if row is None or row.document.get("format") != FORMAT:
        return None
    return Fingerprint.model_validate(row.document)


def record(
    connection: Connection,
    heads: Sequence[str],
    fingerprint: Fingerprint,
    origin: str,
    run_id: str | None = None,
) -> None:
    """Expect this fingerprint at these heads from now on, in the caller's transaction.

    ``origin`` is `migrated`, `verified`, `adopted` or `reverted`. Accepted drift does not become
    part of what is expected. Nothing is written where the same was expected before.
    """
    promised = accepted.taken_back(fingerprint, accepted.read(connection))
    asked = {"heads": sorted(heads)}
    newest = connection.execute(QUERIES["newest_fingerprint"], asked).one_or_none()
    if newest is not None and newest.hash == promised.hash:
        return
    row = {
        **asked,
        "hash": promised.hash,
        "document": jsonb.dump(promised),
        "origin": origin,
        "run_id": run_id,
    }
    connection.execute(QUERIES["record_fingerprint"], row)
