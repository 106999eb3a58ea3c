"""Differences that somebody has agreed to: exactly these are not reported again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.errors import InputError
from tasks.migrations.fingerprint.model import UNCOMPARED, Attributes, Difference, Fingerprint

QUERIES = load_queries(__package__)


def read(connection: Connection) -> tuple[Difference, ...]:
    """What is agreed to in this database; nothing without schema `headway`."""
    if not connection.scalar(QUERIES["tables_exist"]):
        return ()
    rows = connection.execute(QUERIES["accepted_drift"]).mappings()
    return tuple(Difference.model_validate(dict(row)) for row in rows)


def accept(
    connection: Connection,
    differences: Iterable[Difference],
    *,
    actor: str,
    reason: str,
    run_id: str | None = None,
) -> None:
    """Agree to these differences, in the caller's transaction. Another change of the same is not.

    Raises:
        InputError: nobody, or no reason, is named.
    """
    if not actor.strip() or not reason.strip():
        raise InputError("to accept drift, say who accepts it and why (--actor, --reason)")
    for difference in differences:
        connection.execute(
            QUERIES["accept_drift"],
            {
                "object": difference.object,
                "change": difference.change,
                "attribute": difference.attribute,
                "expected": jsonb.dump(difference.expected),
                "actual": jsonb.dump(difference.actual),
                "actor": actor,
                "reason": reason,
                "run_id": run_id,
            },
        )


def split(
    differences: Sequence[Difference], agreed: Sequence[Difference]
) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """The differences that nobody agreed to, and those that somebody did."""
    known = {_identity(each) for each in agreed}
    return (
        tuple(each for each in differences if _identity(each) not in known),
        tuple(each for each in differences if _identity(each) in known),
    )


def taken_back(fingerprint: Fingerprint, agreed: Iterable[Difference]) -> Fingerprint:
    """The fingerprint as it would be without the drift that was agreed to, where it has it."""
    objects = dict(fingerprint.objects)
    for each in agreed:
        found = objects.get(each.object)
        if each.change == "removed" and found is None:
            objects[each.object] = each.expected
        elif each.change == "added" and _telling(found) == _telling(each.actual):
            objects = _without(objects, each.object)
        elif each.change == "changed" and found is not None:
            objects[each.object] = _with_attribute(found, each)
    return Fingerprint(server_major=fingerprint.server_major, objects=objects)


def _without(objects: dict[str, Attributes], key: str) -> dict[str, Attributes]:
    """Without the object and what is part of it."""
    gone = {key}
    while more := {each for each, found in objects.items() if found.get("of") in gone} - gone:
        gone |= more
    return {each: found for each, found in objects.items() if each not in gone}


def _with_attribute(found: Attributes, difference: Difference) -> Attributes:
    name = difference.attribute or ""
    if found.get(name) != difference.actual:
        return found
    rest = {each: value for each, value in found.items() if each != name}
    return rest if difference.expected is None else {**rest, name: difference.expected}


def _identity(difference: Difference) -> str:
    told = difference.model_dump(exclude={"is_information"})
    return json.dumps({name: _telling(value) for name, value in told.items()}, sort_keys=True)


def _telling(value: Any) -> Any:
    """Without the names that Postgres chose."""
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if name not in UNCOMPARED}
