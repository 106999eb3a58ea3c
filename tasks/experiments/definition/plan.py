"""An experiment as it is planned before it starts: arms, metric, size and error."""

from __future__ import annotations

from math import isclose
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tasks.experiments.metrics import metrics

Name = Annotated[str, Field(pattern=r"^[^\x00]*[^\s\x00][^\x00]*$", max_length=255)]


class _Planned(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VariantPlan(_Planned):
    """One arm and its share of the traffic."""

    name: Name
    weight: Annotated[float, Field(ge=0, le=1, description="share of the traffic, 0 to 1")]
    is_control: bool = False
    label: str | None = None


class MetricPlan(_Planned):
    """What is measured: how the events of one type become one value for each unit."""

    name: Name
    kind: Annotated[str, Field(description="a registered metric kind: mean, proportion, …")]
    event_type: Name
    aggregation: Literal["sum", "mean", "min", "max", "first", "last", "count", "any"]
    missing: Annotated[
        Literal["exclude", "zero"], Field(description="a unit without an event: left out, or zero")
    ]
    is_higher_better: bool = True
    description: str | None = None

    @field_validator("kind")
    @classmethod
    def _is_registered(cls, kind: str) -> str:
        if kind not in metrics.names():
            raise ValueError(f"unknown metric kind {kind!r}; known: {', '.join(metrics.names())}")
        return kind

    @model_validator(mode="after")
    def _proportion_is_zero_or_one(self) -> MetricPlan:
        if self.kind == "proportion" and (self.aggregation, self.missing) != ("any", "zero"):
            raise ValueError("a proportion needs aggregation 'any' and missing 'zero': 1 or 0")
        return self


class ExperimentPlan(_Planned):
    """An experiment to start: it becomes active at once."""

    name: Name
    variants: Annotated[tuple[VariantPlan, ...], Field(min_length=2)]
    metric: MetricPlan
    planned_sample_size: Annotated[
        int, Field(ge=1, description="units with a value, over all arms, at the planned end")
    ]
    minimum_sample_size: Annotated[
        int, Field(ge=2, description="units with a value that each arm needs before any verdict")
    ] = 100
    alpha: Annotated[float, Field(gt=0, lt=0.5, description="chance of a false winner")] = 0.05
    is_stopped_at_winner: bool = True
    description: str | None = None
    hypothesis: str | None = None

    @model_validator(mode="after")
    def _arms_fit_together(self) -> ExperimentPlan:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError("two variants have the same name")
        controls = sum(variant.is_control for variant in self.variants)
        if controls != 1:
            raise ValueError(f"exactly one variant must be the control, not {controls}")
        total = sum(variant.weight for variant in self.variants)
        if not isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the weights must add up to 1, not {total:g}")
        return self
