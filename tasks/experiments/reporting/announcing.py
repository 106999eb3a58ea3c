"""Put into the outbox what looks and recomputations came to, in their own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.analysis.reading import with_verdicts
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.folding.recomputing import Difference
from tasks.experiments.reporting.notices import notices_of, statistics_notice
from tasks.notifications.notice import Notice
from tasks.notifications.outbox import announce
from tasks.settings import load_settings

QUERIES = load_queries(__package__)


def announce_looks(tx: Connection, analyses: Sequence[Analysis]) -> int:
    """Tell what there is to tell of the looks; how many messages are new."""
    looks = [each for each in analyses if not each.is_skipped]
    if not looks or not load_settings().notify:
        return 0
    at = tx.scalars(QUERIES["read_clock"]).one()
    return _announce(
        tx,
        (
            notice
            for each in with_verdicts(tx, looks)
            if each.verdict is not None
            for notice in notices_of(
                each.experiment, each.metric, each.verdict, at, each.decision_id
            )
        ),
    )


def announce_differences(tx: Connection, differences: Sequence[Difference]) -> int:
    """Tell of statistics that were folded wrong; how many messages are new."""
    if not differences:
        return 0
    at = tx.scalars(QUERIES["read_clock"]).one()
    notices = (
        statistics_notice(each.experiment, each.metric, str(each), at) for each in differences
    )
    return _announce(tx, notices)


def _announce(tx: Connection, notices: Iterable[Notice]) -> int:
    return sum(announce(tx, notice) for notice in notices)
