"""What an update of the traffic came to, as the flows and commands show it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Bandit(_Frozen):
    """An experiment whose split follows its figures."""

    id: str
    name: str


class Allocated(_Frozen):
    """One bandit at one update: its split has changed, was held, or nothing was new."""

    experiment: str
    outcome: Literal["changed", "held", "skipped"]
    code: str  # why: that of the first reason
    message: str  # what the decision says
    weights: dict[str, float]  # as they hold now
    arms: tuple[dict[str, Any], ...] = ()  # how each stood, where it is shown
    epoch: int | None = None  # that opened
    decision_id: int | None = None

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.experiment}: {self.outcome}: {self.message}"


class Balanced(_Frozen):
    """One fixed design whose split was to go back to its plan."""

    experiment: str
    outcome: Literal["changed", "held", "skipped"]
    code: str
    message: str
    weights: dict[str, float]
    epoch: int | None = None
    decision_id: int | None = None

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.experiment}: {self.outcome}: {self.message}"


def split_in_words(weights: dict[str, float]) -> str:
    """The split in a line."""
    return ", ".join(f"{name} {weight:.1%}" for name, weight in weights.items())
