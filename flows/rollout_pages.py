"""The page that a run leaves of a rollout: where it stands, over time, and why."""

from __future__ import annotations

from collections.abc import Iterable

from prefect.context import FlowRunContext

from flows.artifacts import publish_report
from tasks.rollouts.reporting.detail import show_rollout
from tasks.rollouts.reporting.detail_page import as_markdown

_MOST_PAGES = 20
"""A tick may move a thousand rollouts at once; nobody reads as many pages, and each is queried."""


def publish_page(name: str, head: str = "") -> None:
    """Leave the page of one rollout, below what is to be said first.

    Nothing is written to the database here, so that there is nothing to remember as a step: a run
    that goes on publishes the same page again.
    """
    if FlowRunContext.get() is None:
        return
    page = as_markdown(show_rollout(name))
    publish_report(f"rollout-{name}", f"{head}\n{page}" if head else page)


def publish_pages(names: Iterable[str]) -> None:
    """Leave the pages of these rollouts; none of more than 20, which the tick's report lists."""
    moved = list(names)
    for name in moved if len(moved) <= _MOST_PAGES else ():
        publish_page(name)
