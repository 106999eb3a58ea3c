"""How a rollout is guarded: its checks, the guard that judges them, when it may not climb."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.rollouts.definition.freeze import Freeze
from tasks.rollouts.definition.naming import Name

Operator: TypeAlias = Literal["<", "<=", ">", ">="]
GuardName: TypeAlias = Literal["threshold", "sequential"]
Action: TypeAlias = Literal["rollback", "hold", "warn"]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Hours: TypeAlias = Annotated[float, Field(gt=0, le=24 * 366, allow_inf_nan=False)]


class SourceChoice(BaseModel):
    """Where a check's numbers come from: the ``kind`` of a health source, and what it needs."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: Name = "samples"

    @property
    def given(self) -> dict[str, Any]:
        """What the source needs, as it was written."""
        return dict(self.model_extra or {})


class CheckPolicy(BaseModel):
    """Which check, against which limit, on how many samples at least, and what follows.

    ``metric`` names what the source is asked for (by default as the check). The value must be on
    the good side of ``limit``: with ``<`` and ``>``, the default of the known checks, equal to the
    limit is unhealthy. Judged is what was observed since the stage began, but at most
    ``window_hours`` back. Below ``min_samples`` there is no verdict; a value given without a count
    is judged as given. ``consecutive`` unhealthy verdicts in a row are needed for the ``action``;
    a check in shadow is judged and shown, and moves nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Name
    limit: Finite
    metric: Name | None = None
    operator: Operator | None = None
    source: SourceChoice = SourceChoice()
    window_hours: Hours = 24.0
    min_samples: Annotated[int, Field(ge=0)] = 100
    consecutive: Annotated[int, Field(ge=1, le=100)] = 1
    action: Action = "rollback"
    is_shadow: bool = False

    @property
    def name(self) -> str:
        """What its verdicts and alerts are filed under: no two checks of a rollout share it."""
        return self.metric or self.check


DEFAULT_CHECKS = (
    CheckPolicy(check="error_rate", limit=0.05),
    CheckPolicy(check="latency", limit=200.0),
    CheckPolicy(check="accuracy", limit=0.75),
)


class RolloutPolicy(BaseModel):
    """How a rollout is guarded.

    ``guard`` decides, the other one is computed and shown beside it. ``alpha`` is the sequential
    guard's chance of a false rollback over the whole rollout; ``is_strict`` asks for evidence of
    health before each step up, not only for none of harm. With ``is_watched`` harm is looked for
    between ticks too, whenever samples come. While a freeze lasts no step up is taken. When health
    stays unknown for ``max_hold_hours``, ``max_hold_action`` applies: roll back, or go on holding
    and warn once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: Annotated[tuple[CheckPolicy, ...], Field(min_length=1, max_length=100)] = DEFAULT_CHECKS
    guard: GuardName = "threshold"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    is_strict: bool = False
    is_watched: bool = True
    freezes: Annotated[tuple[Freeze, ...], Field(max_length=100)] = ()
    max_hold_hours: Hours = 24.0
    max_hold_action: Literal["hold", "rollback"] = "hold"

    @model_validator(mode="after")
    def _checks_are_distinct(self) -> RolloutPolicy:
        names = [check.name for check in self.checks]
        if len(set(names)) != len(names):
            raise ValueError(f"each check may be named once, not {names}")
        if all(check.is_shadow for check in self.checks):
            raise ValueError("at least one check must not be in shadow")
        return self
