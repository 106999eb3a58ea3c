"""What may be done to a rollout that is there, by one name each."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection

from tasks.errors import InputError
from tasks.misfits import problems
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.plan import RolloutEdit

UpdateAction: TypeAlias = Literal["percentage", "pause", "resume", "edit", "delete"]
Percentage: TypeAlias = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class RolloutUpdate(BaseModel):
    """What to do, with what it takes: a percentage to set, or what to edit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: UpdateAction
    percentage: Percentage | None = None
    edit: RolloutEdit | None = None

    @model_validator(mode="after")
    def _takes_what_it_needs(self) -> RolloutUpdate:
        for name in ("percentage", "edit"):
            is_given, is_needed = getattr(self, name) is not None, self.action == name
            if is_given != is_needed:
                problem = "needs" if is_needed else "does not take"
                raise ValueError(f"the action {self.action} {problem} the field {name}")
        return self


def as_update(
    action: UpdateAction, percentage: float | None, edit: RolloutEdit | None
) -> RolloutUpdate:
    """The action with what it takes; InputError says what is missing or too much."""
    try:
        return RolloutUpdate(action=action, percentage=percentage, edit=edit)
    except ValidationError as error:
        raise InputError(problems(error, RolloutUpdate)) from None


def carry_out(
    tx: Connection, name: str, update: RolloutUpdate, actor: str, reason: str
) -> ManualOutcome:
    """Do it; Refused where the rollout's state does not allow it."""
    match update.action:
        case "percentage":
            percentage = update.percentage or 0.0
            return manual.set_percentage(tx, name, percentage, actor, reason)
        case "pause":
            return manual.pause(tx, name, actor, reason)
        case "resume":
            return manual.resume(tx, name, actor, reason)
        case "edit":
            return drafts.edit(tx, name, update.edit or RolloutEdit(), actor, reason)
        case "delete":
            return drafts.delete(tx, name, actor, reason)
