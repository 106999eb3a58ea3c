"""The built-in health source: the table of samples that applications record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks import jsonb, retries
from tasks.database import load_queries
from tasks.rollouts.health.measured import Measured, Reading
from tasks.rollouts.health.sources.model import Asked

QUERIES = load_queries(__package__, "samples.sql")


def read_samples(tx: Connection, asked: Sequence[Asked]) -> list[Reading]:
    """What the samples say of every check, of the version and of its control, by one statement.

    Where the table cannot be read, every reading says why; a passing trouble is raised, so that the
    step is tried again.
    """
    measured = iter(_measured(tx, [part for each in asked for part in _parts(each)]))
    return [
        Reading(
            check=each.check.name,
            canary=next(measured),
            control=next(measured) if each.control_version is not None else None,
            window_start=each.window_start,
            window_end=each.window_end,
        )
        for each in asked
    ]


def _parts(asked: Asked) -> list[dict[str, Any]]:
    versions = [asked.model_version]
    if asked.control_version is not None:
        versions.append(asked.control_version)
    window = {"window_start": asked.window_start, "window_end": asked.window_end}
    return [
        {"model_version": version, "metric": asked.check.name, **window} for version in versions
    ]


def _measured(tx: Connection, parts: list[dict[str, Any]]) -> list[Measured]:
    if not parts:
        return []
    numbered = jsonb.dump([{"place": place, **part} for place, part in enumerate(parts)])
    try:
        # Apart from the caller's transaction, which a statement that fails would end.
        with tx.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as apart:
            rows = apart.execute(QUERIES["measure_samples"], {"asked": numbered}).mappings().all()
    except DBAPIError as error:
        if retries.is_transient(error):
            raise
        return [Measured(source_error=str(error.orig).splitlines()[0])] * len(parts)
    return [_sums(dict(row)) for row in rows]


def _sums(row: dict[str, Any]) -> Measured:
    row.pop("place")
    return Measured.model_validate(row)
