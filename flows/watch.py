"""Watch rollouts between their ticks: what does harm goes to 0 % in seconds, not at the hour."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from flows.artifacts import publish_table
from flows.notify import send_unsent
from flows.pipeline import pipeline, run_by_ledger
from flows.rollout import roll_back_rollout
from tasks.alerts.model import AlertNews
from tasks.database import control_engine
from tasks.rollouts.steps import watching as steps
from tasks.rollouts.steps.secrets import resolve_secrets
from tasks.rollouts.watch.heartbeat import check_heartbeats
from tasks.rollouts.watch.listening import heard
from tasks.rollouts.watch.watching import Breach, alert_of, find_breaches

EVENT = "headway.rollout.unhealthy"
ACTOR = "headway watch"
SWEEP_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
"""A rollout that is still there so long after its event is rolled back here."""

React = Callable[[Breach, bool], None]
_logger = logging.getLogger("headway.watch")


@pipeline(name="check-ticks")
def check_ticks() -> list[AlertNews]:
    """Alert of rollouts that no tick came for in two of their intervals: nobody guards them.

    The next tick of such a rollout resolves its alert.
    """
    news = steps.check_ticks()
    if news:
        publish_table("missed-ticks", [{"alert": each.summary} for each in news])
    send_unsent()
    return news


def watch(
    sweep_seconds: float = SWEEP_SECONDS, is_over: Callable[[], bool] = lambda: False
) -> None:
    """Look at rollouts whenever samples of their version come, and at all of them now and then.

    With a Prefect server an unhealthy one becomes an event, which starts the roll-back; without
    one, or where nobody acted on the event, it is rolled back here. What fails is logged, and
    looked at again; it goes on until ``is_over``.
    """
    emitted: dict[tuple[int, int], float] = {}
    for versions in heard(sweep_seconds, is_over):
        try:
            look(versions, act, emitted)
        except Exception as error:  # the next look may work, and there must be one
            _logger.warning("a look failed: %s: %s", type(error).__name__, error)


def look(
    versions: Sequence[str] | None, react: React, emitted: dict[tuple[int, int], float]
) -> None:
    """Judge the rollouts of these versions, or all; react to what is new, then alert of it."""
    with control_engine().begin() as tx:
        found = find_breaches(tx, resolve_secrets, versions)
    for breach, is_first in new_breaches(found, emitted):
        _logger.warning("%s is unhealthy: %s", breach.name, breach.reason)
        react(breach, is_first)
    with control_engine().begin() as tx:
        alert_of(tx, found)
        if versions is None:
            check_heartbeats(tx)


def new_breaches(
    found: Sequence[Breach], emitted: dict[tuple[int, int], float]
) -> Iterator[tuple[Breach, bool]]:
    """Those that were not told of, or so long ago that nobody acted on it; and whether it is first.

    What is told of is kept in ``emitted``, with its moment.
    """
    now = time.monotonic()
    for breach in found:
        told = emitted.get(breach.key)
        if told is None or now - told >= PATIENCE_SECONDS:
            emitted[breach.key] = now
            yield breach, told is None


def act(breach: Breach, is_first: bool) -> None:
    """Leave the roll-back to Prefect, where there is one and it has not been asked in vain."""
    if is_first and PREFECT_API_URL.value():
        emit(breach)
    else:
        roll_back(breach)


def emit(breach: Breach) -> None:
    """Tell Prefect; the trigger of roll-back-rollout in prefect.yaml acts on it."""
    emit_event(
        event=EVENT,
        resource={
            "prefect.resource.id": f"headway.rollout.{breach.rollout_id}",
            "prefect.resource.name": breach.name,
            "headway.rollout.version": str(breach.version),
        },
        payload={
            "rollout": breach.name,
            "actor": ACTOR,
            "reason": breach.reason,
            "model_version": breach.model_version,
            "percentage": breach.percentage,
        },
    )


def roll_back(breach: Breach) -> None:
    """Roll it back at once, by the ledger alone."""
    run_by_ledger(
        roll_back_rollout, {"rollout": breach.name, "actor": ACTOR, "reason": breach.reason}
    )
