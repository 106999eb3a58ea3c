"""An experiment as it is planned before it starts: arms, metrics, size, error, who and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasks.experiments.assignment.targeting import TargetRule
from tasks.experiments.bandits.evidence import BanditPolicy
from tasks.experiments.definition import adaptive, fitting
from tasks.experiments.definition.arms import VariantPlan, check_arms
from tasks.experiments.definition.factors import FactorPlan, Generator, checked_arms, design_of
from tasks.experiments.definition.measures import GuardrailPlan, MetricPlan
from tasks.experiments.definition.methods import Policy, checked_options, options_of
from tasks.experiments.definition.sample import Baseline, Sizing
from tasks.experiments.definition.words import (
    LARGEST_COUNT,
    Document,
    Key,
    Moment,
    Name,
    Planned,
    Words,
)
from tasks.experiments.statistics.factorial_designs import Design

__all__ = [
    "BanditPolicy",
    "ExperimentPlan",
    "FactorPlan",
    "GuardrailPlan",
    "MetricPlan",
    "TargetRule",
    "VariantPlan",
]


class ExperimentPlan(Planned):
    """An experiment to create: a draft until it is started."""

    name: Name
    variants: Annotated[
        tuple[VariantPlan, ...],
        Field(max_length=100, description="two or more; with factors: empty, they are made"),
    ] = ()
    metric: Annotated[MetricPlan, Field(description="the primary metric: it decides")]
    secondary_metrics: Annotated[
        tuple[MetricPlan, ...], Field(description="are reported beside it and decide nothing")
    ] = ()
    guardrails: Annotated[
        tuple[GuardrailPlan, ...], Field(description="must all be non-inferior in a winner")
    ] = ()
    planned_sample_size: Annotated[
        int,
        Field(
            ge=0,
            le=LARGEST_COUNT,
            description="units with a value, over all arms, at the planned end; "
            "0: from minimum_effect and baseline",
        ),
    ] = 0
    minimum_sample_size: Annotated[
        int,
        Field(
            ge=2,
            le=2**31 - 1,
            description="units with a value that each arm needs before any verdict",
        ),
    ] = 100
    minimum_weeks: Annotated[
        int, Field(ge=0, le=520, description="full weeks before any verdict")
    ] = 0
    alpha: Annotated[float, Field(gt=0, lt=0.5, description="chance of a false winner")] = 0.05
    power: Annotated[float, Field(gt=0, lt=1, description="chance to find the minimum effect")] = (
        0.8
    )
    minimum_effect: Annotated[
        float | None,
        Field(gt=0, le=1000, description="relative to the control: 0.05 is 5 %"),
    ] = None
    baseline: Annotated[
        Baseline | None, Field(description="the control as it is now, to plan the sample by")
    ] = None
    method: Annotated[Name, Field(description="how it is decided")] = "group_sequential"
    method_options: Document = Field(default_factory=dict, validate_default=True)
    policy: Annotated[
        Policy, Field(description="what becomes of a winner: only said, selected, or rolled out")
    ] = "select"
    is_stopped_at_winner: bool = True
    reserved_alpha: Annotated[
        float,
        Field(ge=0, lt=0.5, description="part of alpha that is kept for after the planned end"),
    ] = 0
    tie_break_metric: Annotated[
        Name | None, Field(description="which of the metrics decides between several winners")
    ] = None
    description: Words | None = None
    hypothesis: Words | None = None
    target_bot: Name | None = None
    organization: Name | None = None
    traffic_fraction: Annotated[
        float, Field(gt=0, le=1, description="share of all users that takes part")
    ] = 1
    target_rules: Annotated[
        tuple[TargetRule, ...], Field(description="who takes part: all of them must hold")
    ] = ()
    dimensions: Annotated[
        tuple[Key, ...], Field(description="keys of the assignment's metadata to break down by")
    ] = ()
    starts_at: Annotated[Moment | None, Field(description="started then, if not before")] = None
    ends_at: Annotated[Moment | None, Field(description="completed then, if not before")] = None
    bandit: Annotated[
        BanditPolicy | None,
        Field(description="the split follows the primary metric; empty: it stays as planned"),
    ] = None
    factors: Annotated[
        tuple[FactorPlan, ...],
        Field(max_length=24, description="multivariate: each cell of levels is a variant"),
    ] = ()
    generators: Annotated[
        tuple[Generator, ...],
        Field(max_length=11, description="only a fraction of the cells, as D=ABC"),
    ] = ()
    layer: Annotated[Name | None, Field(description="experiments of one layer share no unit")] = (
        None
    )
    layer_share: Annotated[
        float | None, Field(ge=1e-6, le=1, description="how much of the layer it needs")
    ] = None
    is_holdout: Annotated[
        bool, Field(description="who is in its control takes part in no other experiment")
    ] = False
    segment_of: Annotated[
        Name | None, Field(description="the experiment that this one was cut out of")
    ] = None

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        options_of(method)
        return method

    @field_validator("method_options")
    @classmethod
    def _are_of_the_method(
        cls, told: dict[str, JsonValue], info: ValidationInfo
    ) -> dict[str, JsonValue]:
        if "method" not in info.data:
            return told  # the method itself is wrong, and said to be
        return checked_options(info.data["method"], told)

    @field_validator("bandit")
    @classmethod
    def _has_an_algorithm(cls, policy: BanditPolicy | None) -> BanditPolicy | None:
        return None if policy is None else adaptive.known_algorithm(policy)

    @field_validator("layer_share")
    @classmethod
    def _can_be_told_by_bounds(cls, share: float | None) -> float | None:
        return None if share is None else adaptive.rounded_share(share)

    @model_validator(mode="after")
    def _fits_together(self) -> ExperimentPlan:
        self._make_up()
        check_arms(self.variants)
        self._check_adaptive()
        fitting.check_roles([measure.name for measure in self.measures], self.tie_break_metric)
        fitting.check_error(self.method, self.alpha, self.reserved_alpha)
        fitting.check_correlation(self.metric, self.baseline)
        fitting.check_times(self.starts_at, self.ends_at, self.minimum_weeks)
        fitting.check_dimensions(self.dimensions)
        if not self.planned_sample_size:
            self._set("planned_sample_size", self._sample_size())
        return self

    @property
    def measures(self) -> tuple[MetricPlan, ...]:
        """All metrics, the primary one first."""
        return (self.metric, *self.secondary_metrics, *self.guardrails)

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the arms that get traffic, the control first."""
        ordered = sorted(self.variants, key=lambda variant: not variant.is_control)
        return tuple(variant.weight for variant in ordered if variant.weight > 0)

    @property
    def design(self) -> Design | None:
        """Which cells a multivariate experiment tries; None for any other."""
        return design_of(self.factors, self.generators) if self.factors else None

    def _set(self, field: str, value: object) -> None:
        # Frozen for everybody else; here the plan is still being made.
        object.__setattr__(self, field, value)

    def _make_up(self) -> None:
        """Fill in what follows from the rest: the arms of a design, the policy of a holdout."""
        if self.is_holdout and "policy" not in self.model_fields_set:
            self._set("policy", "recommend")
        if self.design is not None:
            reserved = frozenset({*self.dimensions, *fitting.RESERVED_DIMENSIONS})
            arms = checked_arms(self.variants, self.factors, self.design, reserved)
            self._set("variants", arms)

    def _check_adaptive(self) -> None:
        if self.generators and not self.factors:
            raise ValueError("generators say which cells of factors are tried; say the factors")
        adaptive.check_layer(self.layer, self.layer_share)
        others = {"bandit": self.bandit, "layer": self.layer, "factors": self.factors}
        if self.is_holdout:
            adaptive.check_holdout(self.variants, self.policy, [n for n in others if others[n]])
        if self.bandit is not None:
            has_factors, kind = bool(self.factors), self.metric.kind
            adaptive.check_bandit(
                self.bandit, self.variants, self.method, kind, has_factors=has_factors
            )
        if self.segment_of == self.name:
            raise ValueError("segment_of names the experiment itself; name what it was cut out of")

    def _sample_size(self) -> int:
        if self.minimum_effect is None or self.baseline is None:
            raise ValueError(
                "say planned_sample_size, or minimum_effect and baseline to compute it from"
            )
        return self.sizing(self.baseline).sample(self.minimum_effect).total

    def sizing(self, baseline: Baseline) -> Sizing:
        """What decides how many units find an effect on the primary metric."""
        return Sizing(
            kind=self.metric.kind,
            baseline=baseline,
            shares=self.shares,
            alpha=self.alpha - self.reserved_alpha,
            power=self.power,
            method=self.method,
            options=self.method_options,
        )
