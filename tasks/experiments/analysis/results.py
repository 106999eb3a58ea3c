"""What a look at an experiment came to, as the flow and the report see it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict


class DueExperiment(BaseModel):
    """An active experiment, whose turn has come."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str


class PastLook(BaseModel):
    """One arm at one look, for the table of looks."""

    model_config = ConfigDict(frozen=True)

    number: int
    fraction: float
    arm: str
    n: int
    difference: float | None
    statistic: float | None
    p_value: float | None
    bound: float | None
    is_significant: bool


class Analysis(BaseModel):
    """One experiment at one tick: looked at, or skipped with the reason.

    A step gives it without figures, which are read from the decision where they are shown.
    """

    model_config = ConfigDict(frozen=True)

    experiment: str
    experiment_id: str = ""
    metric: str = ""
    kind: str = ""
    is_skipped: bool
    is_over: bool = False
    message: str
    fraction: float | None = None  # of the planned sample
    winner: str | None = None
    decision_id: int | None = None
    verdict: Verdict | None = None
    looks: tuple[PastLook, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.experiment}: {self.outcome}: {self.message}"

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two."""
        if self.is_skipped:
            return "skipped"
        return f"winner: {self.winner}" if self.winner else "no winner"
