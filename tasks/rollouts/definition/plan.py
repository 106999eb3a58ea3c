"""A rollout as it is planned: what goes to whom, in which stages, guarded how."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from tasks.errors import InputError
from tasks.misfits import problems
from tasks.rollouts.definition.naming import OWN_ALERTS, Name
from tasks.rollouts.definition.policy import RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, Planned, parse_schedule

Requests = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
TickSeconds = Annotated[float, Field(gt=0, le=31 * 86_400, allow_inf_nan=False)]


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is one in UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]


class RolloutPlan(BaseModel):
    """What is to be rolled out, to whom and how.

    ``control_version`` is the version that everybody else uses: what it suffers too, the new one
    is not blamed for. Of the rollouts of one ``exclusion_group`` only one is under way at a time.
    ``requests_per_hour`` counts those of all versions, as stated. With ``is_fail_closed`` nobody is
    told to use the version once two ticks, ``tick_seconds`` apart, have not come. Users are those
    of the version's last rollout, unless ``resalt`` draws others. With ``respects_holdouts``, by
    default where an experiment's winner is rolled out, whoever a holdout holds out that ran when
    the rollout began keeps the old version for as long as the holdout runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    model_version: Name
    schedule: Planned = parse_schedule(DEFAULT_SCHEDULE)
    policy: RolloutPolicy = RolloutPolicy()
    control_version: Name | None = None
    organization: Name | None = None
    exclusion_group: Name | None = None
    starts_at: Moment | None = None
    requests_per_hour: Requests | None = None
    is_fail_closed: bool = False
    tick_seconds: TickSeconds = 3600.0
    experiment: Name | None = None
    variant: Name | None = None
    resalt: bool = False
    respects_holdouts: bool = False

    @model_validator(mode="before")
    @classmethod
    def _keeps_winners_from_those_held_out(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("experiment") is not None:
            return {"respects_holdouts": True} | given
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> RolloutPlan:
        if self.control_version == self.model_version:
            raise ValueError("control_version is the version before; it cannot be model_version")
        if (self.experiment is None) != (self.variant is None):
            raise ValueError("experiment and variant are named together, or neither")
        taken = sorted(OWN_ALERTS & {check.name for check in self.policy.checks})
        if taken:
            raise ValueError(
                f"no check can be named {taken[0]!r}: an alert of the rollout itself has that name"
            )
        return self


class RolloutEdit(BaseModel):
    """What is to be different in a draft; what is not given stays, null takes a value away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_version: Name | None = None
    schedule: Planned | None = None
    policy: RolloutPolicy | None = None
    control_version: Name | None = None
    organization: Name | None = None
    exclusion_group: Name | None = None
    starts_at: Moment | None = None
    requests_per_hour: Requests | None = None
    is_fail_closed: bool | None = None
    tick_seconds: TickSeconds | None = None
    respects_holdouts: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given."""
        return {field: getattr(self, field) for field in sorted(self.model_fields_set)}

    @model_serializer(mode="wrap")
    def _only_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run that goes on reads its parameters again: what was not given must stay so."""
        written = serialize(self)
        return {field: value for field, value in written.items() if field in self.model_fields_set}


def as_plan(document: dict[str, Any], source: str) -> RolloutPlan:
    """The document as a plan; InputError says what in ``source`` does not fit."""
    try:
        return RolloutPlan.model_validate(document)
    except ValidationError as error:
        told = problems(error, RolloutPlan)
        raise InputError(f"{source} is no plan of a rollout: {told}") from None
