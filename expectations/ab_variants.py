"""What must hold of `ab_variants`."""

from __future__ import annotations

from typing import Any

from expectations.suite import TableSuite, because, not_finite

OWNER = "experiments"
# A draft may still be incomplete; what units can be assigned to may not.
_OPEN_EXPERIMENTS = (
    "SELECT v.experiment_id FROM {batch} AS v "
    "JOIN ab_experiments AS e ON e.id = v.experiment_id "
    "WHERE e.status <> 'draft' GROUP BY v.experiment_id HAVING "
)


def expected(gxe: Any) -> list[Any]:
    """Weights, the control and the figures of each variant."""
    return [
        gxe.ExpectColumnValuesToMatchRegex(
            column="variant_name",
            regex=r"\S",
            severity="critical",
            meta=because(OWNER, "a name is not blank"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="traffic_weight",
            min_value=0,
            max_value=1,
            severity="critical",
            meta=because(OWNER, "a weight is a share of the traffic"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=(_OPEN_EXPERIMENTS + "abs(sum(v.traffic_weight) - 1) > 0.000001"),
            severity="critical",
            meta=because(OWNER, "the weights of an experiment sum to 1"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=_OPEN_EXPERIMENTS + "count(*) FILTER (WHERE v.is_control) <> 1",
            severity="critical",
            meta=because(OWNER, "an experiment has one control"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=_OPEN_EXPERIMENTS + "count(*) < 2",
            severity="critical",
            meta=because(OWNER, "an experiment compares at least two variants"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="conversion_rate",
            min_value=0,
            max_value=1,
            severity="critical",
            meta=because(OWNER, "a rate is a share of the units"),
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="impressions",
            column_B="conversions",
            or_equal=True,
            severity="critical",
            meta=because(OWNER, "only units that took part can convert"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="conversions",
            min_value=0,
            severity="critical",
            meta=because(OWNER, "a count is not negative"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query=not_finite("total_value"),
            severity="critical",
            meta=because(OWNER, "a total is a finite number"),
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="confidence_interval_upper",
            column_B="confidence_interval_lower",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            severity="critical",
            meta=because(OWNER, "an interval's upper end is not below its lower end"),
        ),
    ]


SUITE = TableSuite("ab_variants", expected, owner_column="experiment_id")
