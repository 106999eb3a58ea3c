"""What the detailed report of one experiment is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.experiments.definition.rollouts import RolledOut
from tasks.experiments.exposure.evidence import Novelty
from tasks.experiments.reporting.bandits_page import BanditFacts
from tasks.experiments.reporting.factors_page import FactorFacts
from tasks.experiments.reporting.look import MetricFigures, StoredLook
from tasks.experiments.segments.evidence import Segments


class ArmLook(BaseModel):
    """One arm of the primary metric at one look, as it was decided then."""

    model_config = ConfigDict(frozen=True)

    number: int
    fraction: float
    at: datetime
    is_usable: bool
    decision_id: int
    arm: str
    n: int | None
    difference: float | None
    lower: float | None
    upper: float | None
    sequential_lower: float | None
    sequential_upper: float | None
    lift: float | None
    p_value: float | None
    adjusted_p_value: float | None
    z: float | None
    bound: float | None
    outcome: str


class ReportFacts(BaseModel):
    """One experiment in full; ``metrics`` are those of the plan, each with figures or a failure."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    as_of: datetime
    plan: dict[str, Any]
    arms: tuple[dict[str, Any], ...]
    planned_metrics: tuple[dict[str, Any], ...]
    epochs: tuple[dict[str, Any], ...]
    winner: str | None
    last_look: StoredLook | None
    metrics: tuple[MetricFigures, ...]
    looks: tuple[ArmLook, ...]
    rollouts: tuple[RolledOut, ...] = ()
    bandit: BanditFacts | None = None  # where the split follows the figures
    factors: FactorFacts | None = None  # of a multivariate design
    segments: Segments | None = None
    novelty: Novelty | None = None  # the effect by days since exposure
