"""A calibration, as flows, commands and reports see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason


class CalibratedMetric(BaseModel):
    """A metric of an experiment that is to be calibrated."""

    model_config = ConfigDict(frozen=True)

    experiment_id: str
    metric_id: str
    experiment: str
    metric: str

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.experiment}: {self.metric}"


class Calibration(BaseModel):
    """How often the tests of a metric erred on its own units; rates with their standard errors."""

    model_config = ConfigDict(frozen=True)

    id: int
    experiment: str
    metric: str
    role: str | None = None  # None: the experiment has it no longer
    kind: str
    method: str
    alpha: float
    units: int
    draws: int
    seed: int
    calibrated_at: datetime
    since: datetime  # the verdict has been the same
    verdict: str
    false_positive_rate: float | None
    coverage: float | None
    srm_alarm_rate: float | None
    details: dict[str, Any]

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why."""
        return tuple(Reason(each["code"], each["message"]) for each in self.details["reasons"])

    @property
    def summary(self) -> str:
        """One line."""
        told = "; ".join(reason.message for reason in self.reasons)
        return f"{self.experiment}: {self.metric} is {self.verdict}: {told}"

    @property
    def row(self) -> dict[str, Any]:
        """The figures as a table shows them."""
        return {
            "experiment": self.experiment,
            "metric": self.metric,
            "method": self.method,
            "verdict": self.verdict,
            "false positives": self._share("false_positive_rate"),
            "promise": f"{self.alpha:.2%}",
            "over all looks": self._share("method_rate"),
            "coverage": self._share("coverage"),
            "SRM alarms": self._share("srm_alarm_rate"),
            "units": self.units,
            "draws": self.draws,
            "since": f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        }

    def _share(self, name: str) -> str:
        share, error = (self.details.get(key) for key in (name, f"{name}_error"))
        return "" if share is None or error is None else f"{share:.2%} ± {error:.2%}"
