"""Hear of health samples as they come: LISTEN, after each lost connection anew, and a sweep."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import psycopg

from tasks.database import control_url, psycopg_url

CHANNEL = "headway_health_sample"
_PAUSE_SECONDS = 2.0  # samples come in bursts, and what each rollout reads may be elsewhere
_BURST_SECONDS = 0.1
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0
_logger = logging.getLogger("headway.watch")


def heard(sweep_seconds: float, is_over: Callable[[], bool]) -> Iterator[list[str] | None]:
    """The versions that samples came for, as they come; None for "look at all of them".

    All of them: at first, every ``sweep_seconds``, and after a connection was lost, because what
    was said meanwhile was said to nobody. It ends when ``is_over`` says so.
    """
    delay = _FIRST_DELAY_SECONDS
    while not is_over():
        try:
            with _connected() as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                delay = _FIRST_DELAY_SECONDS
                yield from _heard_by(connection, sweep_seconds, is_over)
        except psycopg.OperationalError as error:
            said = str(error).splitlines()[0]
            _logger.warning("not listening: %s; again in %.1f s", said, delay)
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)


def _heard_by(
    connection: psycopg.Connection, sweep_seconds: float, is_over: Callable[[], bool]
) -> Iterator[list[str] | None]:
    while not is_over():
        yield None
        swept = time.monotonic()
        while (left := swept + sweep_seconds - time.monotonic()) > 0:
            first = list(connection.notifies(timeout=left, stop_after=1))
            others = list(connection.notifies(timeout=_BURST_SECONDS if first else 0))
            if first:
                yield sorted({notice.payload for notice in first + others})
                time.sleep(_PAUSE_SECONDS)


def _connected() -> psycopg.Connection:
    url = psycopg_url(control_url()).set(drivername="postgresql")
    return psycopg.connect(
        url.render_as_string(hide_password=False),
        autocommit=True,
        application_name="headway watch",
        connect_timeout=10,
        keepalives_idle=10,  # who listens sends nothing, and would never see the other side go
        keepalives_interval=5,
        keepalives_count=3,
    )
