"""What must hold of `ab_metrics`."""

from __future__ import annotations

from typing import Any

from expectations.suite import LATEST, TableSuite, because, not_finite

OWNER = "experiments"


def expected(gxe: Any) -> list[Any]:
    """The events, and whom they count for."""
    return [
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT m.id FROM {batch} AS m JOIN ab_assignments AS a "
                "ON a.id = m.assignment_id WHERE a.experiment_id <> m.experiment_id"
            ),
            severity="critical",
            meta=because(OWNER, "the assignment belongs to the event's experiment"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT m.id FROM {batch} AS m JOIN ab_assignments AS a "
                "ON a.id = m.assignment_id WHERE a.variant_id <> m.variant_id"
            ),
            severity="critical",
            meta=because(OWNER, "an event counts for the variant that its unit was given"),
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="event_type",
            regex=r"\S",
            severity="critical",
            meta=because(OWNER, "an event has a type"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=not_finite("event_value"),
            severity="critical",
            meta=because(OWNER, "a value is a finite number"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="event_timestamp",
            max_value={"$PARAMETER": LATEST},
            severity="warning",
            meta=because(OWNER, "nothing happens in the future"),
        ),
    ]


SUITE = TableSuite("ab_metrics", expected, owner_column="experiment_id")
