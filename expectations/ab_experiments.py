"""What must hold of `ab_experiments`."""

from __future__ import annotations

from typing import Any

from expectations.suite import LATEST, TableSuite, because

OWNER = "experiments"


def expected(gxe: Any) -> list[Any]:
    """Names, life cycle and result of each experiment."""
    return [
        gxe.ExpectColumnValuesToBeUnique(
            column="experiment_name",
            severity="critical",
            meta=because(OWNER, "an experiment is found by its name"),
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="experiment_name",
            regex=r"\S",
            severity="critical",
            meta=because(OWNER, "a name is not blank"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="minimum_sample_size",
            min_value=1,
            severity="critical",
            meta=because(OWNER, "no verdict without at least one unit"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="statistical_significance",
            min_value=0,
            max_value=1,
            severity="critical",
            meta=because(OWNER, "a significance is a probability"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT id FROM {batch} WHERE status IN ('active', 'paused', 'completed') "
                "AND started_at IS NULL"
            ),
            severity="warning",
            meta=because(OWNER, "what has left draft has a start"),
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="completed_at",
            column_B="started_at",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            severity="critical",
            meta=because(OWNER, "an experiment ends after it starts"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(
                "SELECT e.id FROM (SELECT * FROM {batch}) AS e "
                "WHERE e.winner_variant IS NOT NULL AND NOT EXISTS ("
                "SELECT FROM ab_variants AS v "
                "WHERE v.experiment_id = e.id AND v.variant_name = e.winner_variant)"
            ),
            severity="critical",
            meta=because(OWNER, "the winner is one of the experiment's variants"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="created_at",
            max_value={"$PARAMETER": LATEST},
            severity="warning",
            meta=because(OWNER, "nothing was created in the future"),
        ),
    ]


SUITE = TableSuite("ab_experiments", expected, owner_column="id")
