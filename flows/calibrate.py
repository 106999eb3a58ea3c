"""Prove on one's own units how often the tests of experiments err."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from flows.artifacts import publish_report, publish_table
from flows.batches import failures_of, in_batches
from flows.pipeline import Text, one_or_all, pipeline
from tasks import markdown
from tasks.errors import InputError, ItemsFailed
from tasks.experiments import steps
from tasks.experiments.calibration.results import Calibration

_BATCH = 1  # one takes seconds, with many units a minute
_SHOWN = 200


@pipeline(name="calibrate-experiments", run_name=one_or_all("experiment"))
def calibrate_experiments(
    experiment: Text | None = None,
    metric: Text | None = None,
    draws: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000,
) -> list[Calibration]:
    """Draw arms without any difference from one's own units, and count how often tests find one.

    Of each metric of an experiment that runs or pauses, where its figures have changed: divide the
    control's units into two arms at random, many times, and test them as the metric is really
    tested, by single tests and by the acting method over several looks. Where that errs more often
    than promised, winners by this metric are only recommended until it does not. One that fails
    stops no other.

    Args:
        experiment: only its metrics, whatever its state, and on its newest events: its statistics
            are brought up to date first. Empty for all, as the last analysis left them.
        metric: only this metric of the experiment.
        draws: how often the arms are drawn.
    """
    if metric is not None and experiment is None:
        raise InputError("a metric is calibrated on the units of an experiment: name that too")
    due = steps.list_metrics_to_calibrate(experiment=experiment, metric=metric)
    if experiment is not None:
        steps.fold_statistics(experiment_ids=sorted({each.experiment_id for each in due}))
    found, failed = in_batches(
        steps.calibrate_metrics, due, _BATCH, parameter="metrics", draws=draws
    )
    failures = failures_of({each.name: error for each, error in failed.items()})
    calibrations = sorted(found, key=lambda each: (_ORDER.index(each.verdict), each.summary))
    _publish(calibrations, failures)
    if failures:
        raise ItemsFailed("metrics", failures)
    return calibrations


_ORDER = ("broken", "unknown", "kept")
_BROKEN = (
    "While the primary metric or a guardrail of an experiment is broken its winner is only "
    "recommended. In the next experiment cap the values (`cap_quantile`), even out the split or "
    "choose another method."
)


def _publish(calibrations: Sequence[Calibration], failures: Mapping[str, str]) -> None:
    if not calibrations and not failures:
        publish_report("calibration", "No metric has new figures: there was nothing to calibrate.")
        return
    publish_report("calibration", _page(calibrations, failures))
    rows = [each.row for each in calibrations[:_SHOWN]]
    if rows:
        publish_table("calibrations", rows)


def _page(calibrations: Sequence[Calibration], failures: Mapping[str, str]) -> str:
    """How each came out, why where its promise is not kept, and what follows."""
    counts = Counter(each.verdict for each in calibrations)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    whose = "1 metric was" if len(calibrations) == 1 else f"{len(calibrations)} metrics were"
    rows = [each.row for each in calibrations[:_SHOWN]]
    more = len(calibrations) - len(rows)
    lines = [f"- {markdown.plain(each.summary)}" for each in calibrations if each.verdict != "kept"]
    lines += [
        f"- {markdown.plain(name)} failed: {markdown.plain(why)}" for name, why in failures.items()
    ]
    parts = [
        f"{whose} calibrated: {told or 'none'}.",
        markdown.table(rows[0], (row.values() for row in rows)) if rows else "",
        f"And {more} more." if more else "",
        "\n".join(lines),
        _BROKEN if counts["broken"] else "",
    ]
    return "\n\n".join(part for part in parts if part)
