"""The journal: effects outside a step's transaction, so that none is lost and none done twice.

It also names the moments at which a step may die; the kill harness cuts it at each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import control_engine, load_queries
from tasks.errors import ConfigurationError

T = TypeVar("T")

QUERIES = load_queries("tasks", "journal.sql")


class Point(StrEnum):
    """The moments of a step at which it may die; tests cut it at each of them."""

    BEFORE_BODY = "before-body"
    AFTER_ACT = "after-act"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"


observers: list[Callable[[Point, str, Connection | None], None]] = []
active_step: ContextVar[str | None] = ContextVar("headway_step", default=None)


def reached(point: Point, key: str, tx: Connection | None = None) -> None:
    """Tell the observers that the step with this key is at this point."""
    for observer in observers:
        observer(point, key, tx)


def effect(
    name: str,
    intent: dict[str, Any],
    act: Callable[[], T],
    probe: Callable[[], T | None],
    returns: Any = Any,
) -> T:
    """Do something outside the step's transaction (DDL elsewhere, an HTTP call), journalled.

    The intent is committed before ``act``, the outcome after it. When an earlier attempt died
    in between, ``probe`` looks at the world: an outcome means it was applied, None means it was
    not, and it may raise EffectUnknown. ``returns`` is the outcome's type, to restore it by.
    """
    step_key = active_step.get()
    if step_key is None:
        raise ConfigurationError("effect() is for the body of a step")
    key = f"{step_key}/{name}"
    adapter: TypeAdapter[T] = TypeAdapter(returns)
    with control_engine().begin() as journal:
        is_new = journal.execute(
            QUERIES["intend_effect"],
            {"key": key, "step_key": step_key, "name": name, "intent": jsonb.dump(intent)},
        ).first()
        known = journal.execute(QUERIES["find_effect"], {"key": key}).one()
    if known.is_done:
        return adapter.validate_json(json.dumps(known.outcome))
    outcome = None if is_new else probe()
    if outcome is None:
        outcome = act()
        reached(Point.AFTER_ACT, step_key)
    stored = jsonb.dump(outcome)
    with control_engine().begin() as journal:
        journal.execute(QUERIES["finish_effect"], {"key": key, "outcome": stored})
    return adapter.validate_json(stored)
