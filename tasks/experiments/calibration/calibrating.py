"""Calibrate a metric: reduce its units to cells, draw their arms, judge, and write it down."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from tasks import jsonb
from tasks.database import load_queries
from tasks.decisions import Decided, decide
from tasks.errors import NotFound
from tasks.experiments.calibration.cells import Cells, read_cells, read_subject
from tasks.experiments.calibration.judging import (
    LEAST_UNLIKE,
    CalibrationEvidence,
    judge_calibration,
)
from tasks.experiments.calibration.measuring import Terms, promised_alpha, tally
from tasks.experiments.calibration.reading import metrics_of, read_calibrations
from tasks.experiments.calibration.results import CalibratedMetric, Calibration
from tasks.experiments.decision.evidence import Terms as MethodTerms

QUERIES = load_queries(__package__)
LOOKS = 10
"""At equal distances up to the planned end: the whole error of the method is spent."""

_IDS = ("experiment_id", "metric_id", "control_id")
_REDRAWN = 3  # times as many draws where the first ones look broken: chance would not do so twice


def list_due(tx: Connection, experiment: str | None, metric: str | None) -> list[CalibratedMetric]:
    """The metrics to calibrate: those with new figures, or those of one experiment.

    Raises NotFound where an experiment is named that is not there, or has no metric (of that name).
    """
    rows = tx.execute(
        QUERIES["due_metrics"], {"experiment": experiment, "metric": metric}
    ).mappings()
    found = [CalibratedMetric.model_validate(dict(row)) for row in rows]
    if experiment is not None and not found:
        known = ", ".join(metrics_of(tx, experiment)) or "none"
        what = "metric" if metric is None else f"metric {metric!r}"
        raise NotFound(f"experiment {experiment!r} has no {what}; it has: {known}")
    return found


def calibrate(tx: Connection, experiment_id: str, metric_id: str, draws: int) -> Calibration:
    """Calibrate one metric on the control's units of one experiment, in the caller's transaction.

    The control's units are alike in whatever the experiment does, so that a difference between
    their drawn arms is an error. What looks broken is drawn again, more often and otherwise. One
    of the same figures within the hour is left as it is.
    """
    subject = read_subject(tx, experiment_id, metric_id)
    figures_of = _lock(tx, subject)
    made = _made_just_now(tx, subject, figures_of, draws)
    if made is not None:
        return made
    evidence = _evidence(tx, subject, draws)
    about = f"calibration:{subject.experiment}:{subject.metric}"
    decided = decide(tx, judge_calibration, evidence, subject=about)
    told = {"figures_of": figures_of, "asked_draws": draws}
    return _recorded(tx, subject, evidence, decided, told)


def _lock(tx: Connection, subject: Any) -> str | None:
    """Wait for others that calibrate the same; a checksum of the control's figures."""
    asked = {name: str(getattr(subject, name)) for name in _IDS}
    return tx.execute(QUERIES["lock_metric"], asked).one().figures_of  # type: ignore[no-any-return]


def _made_just_now(
    tx: Connection, subject: Any, figures_of: str | None, draws: int
) -> Calibration | None:
    asked = {name: getattr(subject, name) for name in ("experiment_id", "metric_id", "method")}
    more = {"alpha": subject.alpha, "figures_of": figures_of, "draws": draws}
    number = tx.scalar(QUERIES["made_just_now"], asked | more)
    return None if number is None else read_calibrations(tx, ids=[number])[0]


def _evidence(tx: Connection, subject: Any, draws: int) -> CalibrationEvidence:
    told = {
        name: getattr(subject, name)
        for name in ("experiment", "metric", "role", "kind", "method", "alpha")
    }
    problem = _problem(subject)
    if problem:
        return CalibrationEvidence(**told, problem=problem)
    cells = read_cells(tx, subject, LOOKS)
    share = subject.treatment_weight / (subject.treatment_weight + subject.control_weight)
    told |= {
        "units": cells.units,
        "unlike": cells.unlike * min(share, 1 - share),
        "share": share,
        "seed": _seed(subject),
    }
    if told["unlike"] < LEAST_UNLIKE:
        return CalibrationEvidence(**told)
    return _measured(subject, cells, draws, told)


def _problem(subject: Any) -> str:
    """Why no arms can be drawn; empty where they can."""
    if subject.is_quantile:
        return "quantiles are compared by the order of all values, not by sums that can be drawn"
    if not subject.control_weight or not subject.treatment_weight:
        return "the control, or every other arm, has no weight: there is no split to draw"
    return ""


def _measured(subject: Any, cells: Cells, draws: int, told: dict[str, Any]) -> CalibrationEvidence:
    terms = _terms(subject, cells, told["share"])
    looked = {"looks": LOOKS, "method_alpha": promised_alpha(terms)}

    def drawn(draws: int, seed: int, *, is_redrawn: bool) -> CalibrationEvidence:
        counted = asdict(tally(cells, terms, draws, seed))
        given = told | looked | counted | {"draws": draws, "seed": seed}
        return CalibrationEvidence(**given, is_redrawn=is_redrawn)

    first = drawn(draws, told["seed"], is_redrawn=False)
    if judge_calibration(first).verdict != "broken":
        return first
    return drawn(draws * _REDRAWN, told["seed"] + 1, is_redrawn=True)


def _terms(subject: Any, cells: Cells, share: float) -> Terms:
    return Terms(
        kind=subject.kind,
        alpha=subject.alpha,
        is_higher_better=subject.is_higher_better,
        second_value=subject.second_value,
        share=share,
        method=MethodTerms(
            alpha=subject.alpha,
            planned_units=max(1, cells.valued),
            method=subject.method,
            method_options=subject.method_options,
            reserved_alpha=subject.reserved_alpha,
        ),
        power=subject.power,
        is_primary=subject.role == "primary",
    )


def _seed(subject: Any) -> int:
    """One for each metric of an experiment: the same units are drawn alike every night."""
    name = f"{subject.experiment}:{subject.metric}"
    return int.from_bytes(sha256(name.encode()).digest()[:6])


def _recorded(
    tx: Connection,
    subject: Any,
    evidence: CalibrationEvidence,
    decided: Decided,
    told: dict[str, Any],
) -> Calibration:
    asked = {name: getattr(subject, name) for name in _IDS}
    figures = decided.verdict.details
    details = (
        figures
        | told
        | {
            "reasons": [asdict(reason) for reason in decided.verdict.reasons],
            "role": evidence.role,
            "share": evidence.share,
            "looks": evidence.looks,
            "is_redrawn": evidence.is_redrawn,
            "decision_id": decided.id,
        }
    )
    row = {
        name: getattr(evidence, name) for name in ("method", "alpha", "units", "draws", "seed")
    } | {name: figures[name] for name in ("false_positive_rate", "coverage", "srm_alarm_rate")}
    verdict, written = decided.verdict.verdict, jsonb.dump(details)
    number = tx.scalar(QUERIES["record"], {**asked, **row, "verdict": verdict, "details": written})
    (calibration,) = read_calibrations(tx, ids=[int(number or 0)])
    return calibration
