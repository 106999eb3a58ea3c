"""Read what was folded: a few rows an arm, whatever the number of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.statistics.quantiles import quantile_ranks

QUERIES = load_queries(__package__, "reading.sql")


@dataclass(frozen=True, slots=True)
class ArmMoments:
    """Sufficient statistics of one metric in one arm, or in one level of a dimension of it.

    Dimension and level are empty for the whole arm. Second moments are centred sums, not divided.
    """

    experiment_id: str
    metric_id: str
    variant_id: str
    variant: str
    is_control: bool
    dimension: str
    level: str
    assigned: int
    events: int
    converted: int
    n: int
    mean: float
    m2: float
    denominator_mean: float
    denominator_m2: float
    denominator_c2: float
    covariate_mean: float
    covariate_m2: float
    covariate_c2: float


@dataclass(frozen=True, slots=True)
class OrderStatistics:
    """A quantile of one arm's values, and the values that its 95 % interval ends at."""

    n: int
    value: float
    lower: float | None  # None: too few values for an interval
    upper: float | None


def moments_of(
    tx: Connection, experiment_ids: Sequence[str], *, is_with_levels: bool = True
) -> list[ArmMoments]:
    """The statistics of every metric of some experiments, the control's first, as last folded."""
    asked = {"experiment_ids": list(experiment_ids), "is_with_levels": is_with_levels}
    return [ArmMoments(**row._asdict()) for row in tx.execute(QUERIES["moments"], asked)]


def order_statistics(
    tx: Connection, experiment_id: str, metric_id: str, quantile: float
) -> dict[str, OrderStatistics]:
    """What a comparison of quantiles needs, by variant id; arms without values are absent.

    Args:
        tx: where to read.
        experiment_id: the experiment.
        metric_id: a metric of kind `quantile`, or any other whose values are of interest.
        quantile: 0 to 1; between two values it is interpolated.
    """
    place = {"experiment_id": experiment_id, "metric_id": metric_id}
    arms = tx.execute(QUERIES["quantiles"], place | {"quantile": quantile}).all()
    wanted = [
        (arm.variant_id, rank) for arm in arms for rank in quantile_ranks(arm.n, quantile) or ()
    ]
    asked = place | {
        "variant_ids": [variant for variant, _ in wanted],
        "ranks": [rank for _, rank in wanted],
    }
    found = {
        (row.variant_id, row.rank): row.value for row in tx.execute(QUERIES["ranked_values"], asked)
    }
    made = {}
    for arm in arms:
        lower, upper = quantile_ranks(arm.n, quantile) or (None, None)
        made[arm.variant_id] = OrderStatistics(
            arm.n, arm.value, found.get((arm.variant_id, lower)), found.get((arm.variant_id, upper))
        )
    return made
