"""What must hold of `ab_assignments`."""

from __future__ import annotations

from typing import Any

from expectations.suite import LATEST, TableSuite, because

OWNER = "experiments"


def expected(gxe: Any) -> list[Any]:
    """Who was given which variant, and when."""
    return [
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["experiment_id", "user_id"],
            severity="critical",
            meta=because(OWNER, "a unit sees one variant of an experiment"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT a.id FROM {batch} AS a "
                "JOIN ab_variants AS v ON v.id = a.variant_id "
                "WHERE v.experiment_id <> a.experiment_id"
            ),
            severity="critical",
            meta=because(OWNER, "the variant belongs to the assignment's experiment"),
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="user_id",
            regex=r"\S",
            severity="critical",
            meta=because(OWNER, "a unit has an id"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="bucket_value",
            min_value=0,
            max_value=1,
            strict_max=True,
            severity="critical",
            meta=because(OWNER, "a bucket lies in [0, 1)"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT id FROM {batch} WHERE has_converted <> (converted_at IS NOT NULL)"
            ),
            severity="warning",
            meta=because(OWNER, "a conversion has a time, and only a conversion has one"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="assigned_at",
            max_value={"$PARAMETER": LATEST},
            severity="warning",
            meta=because(OWNER, "nobody is assigned in the future"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="converted_at",
            max_value={"$PARAMETER": LATEST},
            severity="warning",
            meta=because(OWNER, "nobody converts in the future"),
        ),
    ]


SUITE = TableSuite("ab_assignments", expected, owner_column="experiment_id")
