"""What must hold of a batch of events before any of it is kept: judged by figures of the batch.

One row for each type of event (`profile_incoming` in tasks/experiments/ingestion): rows of the
batch are checked one by one before; this is about what makes the whole suspect.
"""

from __future__ import annotations

from typing import Any

from expectations.suite import TableSuite, because

OWNER = "experiments"
CLOCK_SKEW_SECONDS = 300


def expected(gxe: Any) -> list[Any]:
    """Figures of the batch, by type of event."""
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="without_unit",
            max_value=0,
            severity="critical",
            meta=because(OWNER, "an event belongs to a unit"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="not_finite",
            max_value=0,
            severity="critical",
            meta=because(OWNER, "a value is a finite number"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="first_year",
            min_value=1971,  # milliseconds that were read as seconds, or none at all, give 1970
            severity="critical",
            meta=because(OWNER, "no event is from before 1971: its clock or its unit was wrong"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="seconds_ahead",
            max_value=CLOCK_SKEW_SECONDS,
            severity="critical",
            meta=because(OWNER, "nothing happens in the future"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="repetition",
            max_value=10,
            severity="critical",
            meta=because(OWNER, "the same event does not come ten times: a join multiplied it"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="repetition",
            max_value=2,
            severity="warning",
            meta=because(OWNER, "the same event rarely comes twice"),
        ),
    ]


SUITE = TableSuite("incoming_event", expected)
