"""Does this user get the new version? The same answer as SQL `should_use_new_model`."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from tasks.bucketing import is_exposed
from tasks.database import load_queries
from tasks.errors import InputError

QUERIES = load_queries(__package__, "exposure.sql")


def should_use_new_model(connection: Connection, user_id: str, model_version: str) -> bool:
    """Tell whether ``user_id`` gets ``model_version``, by its newest rollout that has begun.

    False for a version without one, for one that was rolled back, for one that fails closed while
    its ticks do not come, and for who is held out by a holdout that the rollout respects. The user
    id is text: "7" and "007" are two users; InputError for anything else, and for an empty one.
    """
    return users_of_new_model(connection, [user_id], model_version)[user_id]


def users_of_new_model(
    connection: Connection, user_ids: Iterable[str], model_version: str
) -> dict[str, bool]:
    """As `should_use_new_model` for many users, by one look: every id with its answer."""
    row = connection.execute(QUERIES["exposure"], {"model_version": model_version}).first()
    salt, percentage = (row.salt, row.percentage) if row else ("", 0.0)
    drawn = {user_id: is_exposed(salt, _named(user_id), percentage) for user_id in user_ids}
    if row is None or not row.asks_holdouts:
        return drawn
    asked = [user_id for user_id, is_drawn in drawn.items() if is_drawn]
    parameters = {"model_version": model_version, "user_ids": asked}
    held_out = connection.scalars(QUERIES["held_out"], parameters)
    return drawn | dict.fromkeys(held_out, False)


def held_out_by(connection: Connection, user_id: str, model_version: str) -> list[str]:
    """The holdouts, by name, that leave the old version of ``model_version`` to the user.

    Those that its newest rollout that has begun respects; none where there is no such rollout.
    """
    asked = {"model_version": model_version, "user_id": user_id}
    return list(connection.scalars(QUERIES["held_out_by"], asked))


def _named(user_id: str) -> str:
    """Nobody is no user: all who are not logged in would get one answer, by chance."""
    if user_id == "":
        raise InputError(
            "a user id names somebody; this one is empty. Give those without one the old version"
        )
    return user_id
