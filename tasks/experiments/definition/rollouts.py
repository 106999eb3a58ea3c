"""What became of an experiment's arms when they were rolled out, for whoever reads about it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks import markdown
from tasks.database import load_queries

QUERIES = load_queries(__package__)


class RolledOut(BaseModel):
    """A rollout of one arm, as it stands, and the last thing that was done to it."""

    model_config = ConfigDict(frozen=True)

    rollout: str
    variant: str
    model_version: str
    state: str
    percentage: float
    highest_percentage: float
    changed_at: datetime
    actor: str
    reason: str

    @property
    def standing(self) -> str:
        """Where it stands, in words."""
        if self.state == "rolled_back":
            return f"rolled back, from {self.highest_percentage:g} % at most"
        return f"{self.state.replace('_', ' ')} at {self.percentage:g} %"


def rollouts_of(connection: Connection, experiment: str) -> tuple[RolledOut, ...]:
    """The rollouts of an experiment's arms, the newest first."""
    rows = connection.execute(QUERIES["rollouts_of"], {"name": experiment}).mappings()
    return tuple(RolledOut.model_validate(dict(row)) for row in rows)


def rollouts_table(rollouts: tuple[RolledOut, ...]) -> str:
    """The rollouts for people, one a row."""
    head = ("rollout", "variant", "version", "stands", "since", "by", "why")
    rows = [
        (
            each.rollout,
            each.variant,
            each.model_version,
            each.standing,
            f"{each.changed_at:%Y-%m-%d %H:%M}",
            each.actor,
            each.reason,
        )
        for each in rollouts
    ]
    return markdown.table(head, rows)
