"""What the rules of allocation look at: the policy, the arms and the checks; nothing to fetch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.experiments.quality.model import QualityCheck

Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BanditPolicy(_Frozen):
    """How the traffic may follow the evidence."""

    algorithm: Annotated[
        str, Field(description="thompson, top_two, top_two_sampling, epsilon_greedy")
    ] = "thompson"
    floor: Annotated[Share, Field(description="least share of every open arm")] = 0.01
    warm_up_units: Annotated[
        int, Field(ge=0, le=2**53, description="of every arm, before anything moves")
    ] = 100
    warm_up_hours: Annotated[
        float, Field(ge=0, le=1_000_000, description="since the start, before anything moves")
    ] = 0.0
    maximum_step: Annotated[
        float, Field(gt=0, le=1, description="of the share of any arm, at one update")
    ] = 0.25
    minimum_change: Annotated[
        Share, Field(description="of any share; smaller ones are not worth an epoch")
    ] = 0.01
    epsilon: Annotated[Share, Field(description="what epsilon_greedy gives to all alike")] = 0.1


class BanditArm(_Frozen):
    """One arm by the metric that the bandit follows.

    Counted are units whose attribution window is over, over all epochs. A metric of another shape
    (a ratio, a quantile) gives its value as mean, and m2 = n (n - 1) × standard error². Where the
    split has moved, ``mean`` is that of arms compared within its epochs, as sure as that of
    ``effective_n`` units of one epoch; m2 is theirs.
    """

    name: str
    weight: Share  # as it is now
    n: Annotated[int, Field(ge=0)]
    mean: float = 0.0
    m2: float = 0.0
    effective_n: Annotated[int, Field(ge=0)] | None = None  # None: n
    is_open: bool = True  # False: switched off; it gets nobody and takes no part

    @property
    def sure_n(self) -> int:
        """Units that its value is as sure as."""
        return self.n if self.effective_n is None else self.effective_n

    @property
    def conversions(self) -> int:
        """Of a rate, from its moments: of so many units as it is as sure as."""
        least = 1 if self.mean > 0 else 0
        return min(self.sure_n, max(least, round(self.mean * self.sure_n)))


class AllocationEvidence(_Frozen):
    """Everything that the allocation of one bandit may know."""

    experiment: str
    experiment_id: str = ""
    metric: str
    is_rate: bool  # each unit's value is 0 or 1
    is_higher_better: bool = True
    policy: BanditPolicy = BanditPolicy()
    arms: tuple[BanditArm, ...]
    hours: float | None = None  # since the start; None: unknown
    checks: tuple[QualityCheck, ...] = ()
    is_paused: bool = False
    problem: str = ""  # why the metric has no figures

    @model_validator(mode="after")
    def _names_are_unique(self) -> AllocationEvidence:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have the same name")
        return self

    @property
    def open_arms(self) -> tuple[BanditArm, ...]:
        """Arms that share the traffic."""
        return tuple(arm for arm in self.arms if arm.is_open)


class PlannedArm(_Frozen):
    """One arm of a fixed design."""

    name: str
    weight: Share  # as it is now
    planned_weight: Share


class BalanceEvidence(_Frozen):
    """Who asks for the planned split, and how far off the present one is."""

    experiment: str
    experiment_id: str = ""
    cause: Literal["srm", "operator"]
    arms: tuple[PlannedArm, ...]
