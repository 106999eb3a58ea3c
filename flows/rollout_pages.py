"""The page that a run leaves of a rollout: where it stands, over time, and why."""

from __future__ import annotations

from collections.abc import Iterable

from prefect.context import FlowRunContext

from flows.artifacts import publish_report
from tasks.rollouts.reporting.detail import RolloutDetail, show_rollout, show_rollouts
from tasks.rollouts.reporting.detail_page import as_markdown

_MOST_PAGES = 20
"""A tick may move a thousand rollouts at once; nobody reads as many pages."""


def publish_page(name: str, head: str = "") -> None:
    """Leave the page of one rollout, below what is to be said first.

    Nothing is written to the database here, so that there is nothing to remember as a step: a run
    that goes on publishes the same page again.
    """
    if FlowRunContext.get() is not None:
        _publish(show_rollout(name), head)


def publish_pages(names: Iterable[str]) -> None:
    """Leave the pages of these rollouts; none of more than 20, which the tick's report lists.

    They are read together, by as many statements as one.
    """
    moved = list(names)
    if FlowRunContext.get() is not None and 0 < len(moved) <= _MOST_PAGES:
        for found in show_rollouts(moved):
            _publish(found)


def _publish(found: RolloutDetail, head: str = "") -> None:
    page = as_markdown(found)
    publish_report(f"rollout-{found.rollout.name}", f"{head}\n{page}" if head else page)
