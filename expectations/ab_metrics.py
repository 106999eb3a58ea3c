"""What must hold of `ab_metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expectations.suite import LATEST, TableSuite, because, library, not_finite

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

TABLE = "ab_metrics"
OWNER = "experiments"


def build() -> ExpectationSuite:
    """The events, and whom they count for."""
    gx = library()
    gxe = gx.expectations
    suite: ExpectationSuite = gx.ExpectationSuite(
        TABLE,
        expectations=[
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
        ],
    )
    return suite


SUITE = TableSuite(TABLE, build)
