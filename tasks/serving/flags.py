"""What a user gets: rollouts as booleans, experiments as names of variants.

Everything is decided by the database, by the functions that applications call in SQL, so the
answer is the same wherever it is asked for. What cannot be known is answered with the old version.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from tasks.database import load_queries
from tasks.serving.wire import Problem, Wire, as_jsonb

QUERIES = load_queries(__package__, "flags.sql")

NEW, OLD = "new", "old"
_ROLLOUT, _EXPERIMENT = "rollout:", "experiment:"
_NOT_IN_FORCE = {"draft", "scheduled", "rolled_back"}


class Reason(StrEnum):
    """Why a value is what it is: names that every OpenFeature SDK knows."""

    DEFAULT = "DEFAULT"
    DISABLED = "DISABLED"
    SPLIT = "SPLIT"
    STATIC = "STATIC"
    TARGETING_MATCH = "TARGETING_MATCH"


class Flag(Wire):
    """One answer: a boolean for a rollout, the name of a variant for an experiment."""

    key: str
    value: bool | str
    reason: Reason
    variant: str
    metadata: dict[str, bool | str | int | float]


class Answered(NamedTuple):
    """A flag, and whose it is; None where it is nobody's."""

    flag: Flag
    organization: str | None


def evaluate(
    connection: Connection,
    key: str,
    unit: str,
    attributes: Mapping[str, Any],
    organization: str | None,
) -> Answered:
    """Answer one flag; an active experiment lets a new user in.

    The key is a model version, the name of a rollout, or the name of an experiment; the first of
    these that exists answers. ``rollout:KEY`` and ``experiment:KEY`` ask for one kind only.

    Raises Problem 404 where there is none that the organization may see.
    """
    asked = {"unit": unit, "organization": organization}
    rollout_key, experiment_key = _kinds(key)
    if rollout_key is not None:
        row = connection.execute(QUERIES["rollout_flag"], asked | {"key": rollout_key}).first()
        if row is not None:
            return Answered(_of_rollout(key, row), row.organization)
    if experiment_key is not None:
        asked |= {"key": experiment_key, "attributes": _checked(attributes)}
        row = connection.execute(QUERIES["experiment_flag"], asked).first()
        if row is not None:
            return Answered(_of_experiment(key, row), row.organization)
    raise Problem(404, "NOT_FOUND", "no version, rollout or experiment has this name")


def evaluate_all(connection: Connection, unit: str, organization: str | None) -> list[Flag]:
    """Answer every version that has a rollout, and every experiment that the user is in already.

    It lets nobody into an experiment: who loads a page did not take part in all of them.
    """
    asked = {"unit": unit, "organization": organization}
    rollouts = connection.execute(QUERIES["all_rollout_flags"], asked).all()
    held = connection.execute(QUERIES["held_experiment_flags"], asked).all()
    flags = [_of_rollout(row.model_version, row) for row in rollouts]
    taken = {flag.key for flag in flags}
    named = ((_EXPERIMENT + row.name if row.name in taken else row.name, row) for row in held)
    return flags + [_of_experiment(key, row) for key, row in named]


def _kinds(key: str) -> tuple[str | None, str | None]:
    if key.startswith(_ROLLOUT):
        return key.removeprefix(_ROLLOUT), None
    if key.startswith(_EXPERIMENT):
        return None, key.removeprefix(_EXPERIMENT)
    return key, key


def _checked(attributes: Mapping[str, Any]) -> str:
    try:
        return as_jsonb(attributes)
    except ValueError as error:
        raise Problem(400, "INVALID_REQUEST", f"the context {error}") from None


def _of_rollout(key: str, row: Row[Any]) -> Flag:
    is_new = row.is_drawn and not row.is_held_out
    return Flag(
        key=key,
        value=is_new,
        reason=_why(row),
        variant=NEW if is_new else OLD,
        metadata={
            "bucket": row.bucket,
            "percentage": row.percentage,
            "rolloutId": row.rollout_id,
            "rollout": row.name,
            "modelVersion": row.model_version,
            "state": row.state,
            "stage": row.stage_index + 1,
            "hashVersion": row.hash_version,
            "isFailClosed": row.is_closed,
            "isHeldOut": row.is_held_out,
        },
    )


def _why(row: Row[Any]) -> Reason:
    if row.state in _NOT_IN_FORCE or row.is_closed:
        return Reason.DISABLED
    if row.is_held_out:
        return Reason.DEFAULT
    is_split = 0 < row.percentage < 100 or (row.percentage > 0 and row.asks_holdouts)
    return Reason.SPLIT if is_split else Reason.STATIC


def _of_experiment(key: str, row: Row[Any]) -> Flag:
    variant = row.variant or row.control
    if variant is None:
        raise Problem(404, "NOT_FOUND", "the experiment has no variants yet")
    if row.variant is None:
        reason = Reason.DEFAULT if row.status == "active" else Reason.DISABLED
    else:
        reason = Reason.TARGETING_MATCH if row.is_forced else Reason.SPLIT
    known = {"modelVersion": row.model_version} if row.model_version else {}
    return Flag(
        key=key,
        value=variant,
        reason=reason,
        variant=variant,
        metadata={
            "experiment": row.name,
            "status": row.status,
            "bucket": row.bucket,
            "isParticipant": row.variant is not None,
            **known,
        },
    )
