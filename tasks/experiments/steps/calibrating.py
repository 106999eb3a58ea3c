"""Steps that prove the tests of metrics on their own units."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from tasks.experiments.calibration import calibrating
from tasks.experiments.calibration.results import CalibratedMetric, Calibration
from tasks.ledger import step, step_logger


@step(key="{experiment}:{metric}")
def list_metrics_to_calibrate(
    tx: Connection, experiment: str | None = None, metric: str | None = None
) -> list[CalibratedMetric]:
    """List the metrics whose figures have changed since they were calibrated, or those of one.

    Those of one experiment are listed whatever its state, and whenever they were calibrated.
    """
    return calibrating.list_due(tx, experiment, metric)


def _of_metrics(metrics: list[CalibratedMetric], draws: int) -> str:
    named = ",".join(f"{each.experiment_id}:{each.metric_id}" for each in metrics)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{named}:{draws}"))


@step(key=_of_metrics)
def calibrate_metrics(
    tx: Connection, metrics: list[CalibratedMetric], draws: int
) -> list[Calibration]:
    """Draw the arms of each metric's own units anew many times, and count how often its tests err.

    What is found is judged against the promise, and kept with the decision. One that cannot be
    calibrated fails the batch: the caller takes it apart.
    """
    found = [
        calibrating.calibrate(tx, each.experiment_id, each.metric_id, draws) for each in metrics
    ]
    for each in found:
        if each.verdict == "broken":
            step_logger().warning("%s", each.summary)
    return found
