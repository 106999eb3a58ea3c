"""The metrics of a planned experiment: how the events of a unit become one value."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic.config import JsonDict

from tasks.experiments.definition.kinds import Aggregation, Missing, kind_rule
from tasks.experiments.definition.words import Key, Name, Planned, Words

LONGEST_HOURS = 1_000_000  # more than a century; much more than that is no moment any longer


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


# The kind may leave no choice, so the form must not insist; what must be said is checked below.
_MAY_FOLLOW = Field(json_schema_extra=_without_default)


class MetricPlan(Planned):
    """What is measured: how the events of one type become one value for each unit."""

    name: Name
    kind: Annotated[
        Name,
        Field(description="proportion, mean, count, sum, ratio, quantile, retention, …"),
    ]
    event_type: Key
    aggregation: Annotated[Aggregation, _MAY_FOLLOW] = "sum"
    missing: Annotated[
        Missing,
        _MAY_FOLLOW,
        Field(description="a unit without an event: left out (exclude), or zero"),
    ] = "exclude"
    is_higher_better: bool = True
    description: Words | None = None
    window_start_hours: Annotated[
        float,
        Field(
            ge=0,
            le=LONGEST_HOURS,
            description="events count from so many hours after the assignment",
        ),
    ] = 0
    window_hours: Annotated[
        float | None,
        Field(gt=0, le=LONGEST_HOURS, description="and until so many; empty: for ever"),
    ] = None
    cap_quantile: Annotated[
        float | None,
        Field(gt=0.5, lt=1, description="values above this quantile are cut to it (winsorised)"),
    ] = None
    covariate_days: Annotated[
        int | None,
        Field(ge=1, le=3650, description="CUPED on the events of so many days before"),
    ] = None
    covariate_attribute: Annotated[
        Key | None, Field(description="CUPED on a number in the assignment's metadata")
    ] = None
    quantile: Annotated[float | None, Field(gt=0, lt=1)] = None
    denominator_event_type: Annotated[
        Key | None, Field(description="a ratio divides by the events of this type")
    ] = None
    denominator_aggregation: Aggregation | None = None

    @model_validator(mode="before")
    @classmethod
    def _what_the_kind_leaves_no_choice_in(cls, told: Any) -> Any:
        if not isinstance(told, dict) or not isinstance(told.get("kind"), str):
            return told
        try:
            return kind_rule(told["kind"]).defaults() | told
        except ValueError:
            return told  # said of the kind itself

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        kind_rule(kind)
        return kind

    @model_validator(mode="after")
    def _fits_its_kind(self) -> MetricPlan:
        unsaid = {"aggregation", "missing"} - self.model_fields_set
        if unsaid:
            raise ValueError(f"a {self.kind} must say its {' and '.join(sorted(unsaid))}")
        problem = kind_rule(self.kind).problem(self.kind, dict(self))
        if problem:
            raise ValueError(problem)
        if self.window_hours is not None and self.window_hours <= self.window_start_hours:
            raise ValueError("the window ends before it starts: window_hours counts from the same")
        if self.covariate_days is not None and self.covariate_attribute is not None:
            raise ValueError("one covariate: covariate_days or covariate_attribute")
        return self


class GuardrailPlan(MetricPlan):
    """What must not become worse than the margin allows."""

    margin: Annotated[
        float,
        Field(gt=0, le=100, description="tolerated loss, relative to the control: 0.02 is 2 %"),
    ]
    alpha: Annotated[
        float | None,
        Field(gt=0, lt=0.5, description="chance to pass a worse arm; empty: the plan's"),
    ] = None
