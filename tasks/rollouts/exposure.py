"""Does this user get the new version? The same answer as SQL `should_use_new_model`."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.bucketing import is_exposed
from tasks.rollouts.record import QUERIES


def should_use_new_model(connection: Connection, user_id: str, model_version: str) -> bool:
    """Tell whether ``user_id`` gets ``model_version``, by its newest rollout.

    False for a version without a rollout and for one that was rolled back. The user id is text:
    "7" and "007" are two users; InputError for anything else.
    """
    row = connection.execute(QUERIES["exposure"], {"model_version": model_version}).first()
    return row is not None and is_exposed(row.salt, user_id, row.percentage)
