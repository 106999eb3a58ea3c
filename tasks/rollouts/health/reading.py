"""Read every check of many rollouts: the samples by one statement, other sources side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from sqlalchemy import Connection

from tasks.errors import HeadwayError
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.health.measured import Measured, Reading
from tasks.rollouts.health.samples import read_samples
from tasks.rollouts.health.sources.configuring import configured
from tasks.rollouts.health.sources.model import Asked, Inquiry, Read, Secrets, health_sources

DEADLINE_SECONDS = 60.0
"""What has not answered by then is unknown: a tick must not wait for one source for ever."""

_AT_ONCE = 32
_LONGEST = 500  # characters of what a source said


class _Part(NamedTuple):
    """One thing to ask; what several rollouts ask alike is asked once."""

    source: str
    inquiry: Inquiry


def read_health(
    tx: Connection,
    asked: Sequence[Asked],
    secrets: Secrets,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> list[Reading]:
    """What the sources say of every check, in the order asked.

    Samples are read in the caller's transaction, all other sources meanwhile in threads. One that
    fails, or has not answered within the deadline, gives a reading that says so: never an
    exception, never a number.
    """
    sampled = [each for each in asked if is_sampled(each.check)]
    others = [each for each in asked if not is_sampled(each.check)]
    parts = {part: each.check for each in others for part in _parts(each)}
    workers = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="health")
    try:
        futures = {p: workers.submit(_read, c, p.inquiry, secrets) for p, c in parts.items()}
        by_samples = iter(read_samples(tx, sampled))
        measured = _gathered(futures, deadline_seconds)
    finally:
        # What still waits for an answer ends by its own limits.
        workers.shutdown(wait=False, cancel_futures=True)
    return [
        next(by_samples) if is_sampled(each.check) else _reading(each, measured) for each in asked
    ]


def is_sampled(check: CheckPolicy) -> bool:
    """Tell whether a check is read in the control database, where nothing is waited for."""
    try:
        return health_sources.get(check.source.kind).read is None
    except HeadwayError:
        return False


def _parts(asked: Asked) -> list[_Part]:
    versions = [v for v in (asked.model_version, asked.control_version) if v is not None]
    source = asked.check.source.model_dump_json()
    return [
        _Part(
            source,
            Inquiry(
                metric=asked.check.name,
                model_version=version,
                window_start=asked.window_start,
                window_end=asked.window_end,
            ),
        )
        for version in versions
    ]


def _gathered(
    futures: Mapping[_Part, Future[Measured]], deadline_seconds: float
) -> dict[_Part, Measured]:
    wait(futures.values(), timeout=deadline_seconds)
    late = Measured(source_error=f"it did not answer within {deadline_seconds:g} s")
    return {part: each.result() if each.done() else late for part, each in futures.items()}


def _read(check: CheckPolicy, inquiry: Inquiry, secrets: Secrets) -> Measured:
    try:
        source, config = configured(check)
        read: Read = source.read  # type: ignore[assignment]  # what has none is not asked
        return Measured.model_validate(read(config, inquiry, secrets))
    except HeadwayError as error:
        return Measured(source_error=_without_secrets(str(error), secrets)[:_LONGEST])
    except Exception as error:  # what somebody else's source says may hold a secret
        return Measured(source_error=f"{check.source.kind} failed: {type(error).__name__}")


def _without_secrets(text: str, secrets: Secrets) -> str:
    for secret in secrets.values():
        text = text.replace(secret.get_secret_value(), "***")
    return text


def _reading(asked: Asked, measured: Mapping[_Part, Measured]) -> Reading:
    canary, *control = (measured[part] for part in _parts(asked))
    return Reading(
        check=asked.check.name,
        canary=canary,
        control=control[0] if control else None,
        window_start=asked.window_start,
        window_end=asked.window_end,
    )
