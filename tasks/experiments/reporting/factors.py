"""What each factor of a multivariate experiment does, by the figures of its last look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import InputError
from tasks.experiments.decision.evidence import WinnerEvidence
from tasks.experiments.definition.designed import design_words
from tasks.experiments.definition.factors import FactorPlan, cell_name, design_of
from tasks.experiments.definition.reading import read_experiment
from tasks.experiments.multivariate.effects import EffectFigures, MetricEffects, metric_effects
from tasks.experiments.reporting.factors_page import FactorFacts, page
from tasks.experiments.statistics.factorial_designs import Design

QUERIES = load_queries(__package__, "factors.sql")
_NO_LOOK = "It has not been looked at yet; the next hourly run does."
_OLD_LOOK = "What its last look was given cannot be read; the next look says more."


class FactorReport(FactorFacts):
    """What the factors of one experiment do, as a page or as rows."""

    def as_markdown(self) -> str:
        """The report as a page with its pictures."""
        return page(self)

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row an effect and metric; a metric without figures is one row with its reason."""
        return [row for metric in self.metrics for row in _rows(self, metric)]


def read_factors(connection: Connection, name: str) -> FactorReport:
    """Read what the factors of an experiment do; NotFound, or InputError where it has none."""
    plan = read_experiment(connection, name).plan
    if plan.design is None:
        raise InputError(
            f"{name} is no multivariate design: its plan has no factors; "
            f"`headway experiment report {name}` compares its arms"
        )
    return factor_report(connection, name, plan.factors, plan.generators)


def planned_factors(
    connection: Connection, name: str, plan: Mapping[str, Any]
) -> FactorReport | None:
    """The same from the row of a plan, for the report of everything; None without factors."""
    if not plan.get("factors"):
        return None
    factors = tuple(FactorPlan.model_validate(each) for each in plan["factors"])
    return factor_report(connection, name, factors, tuple(plan["generators"]))


def factor_report(
    connection: Connection, name: str, factors: tuple[FactorPlan, ...], generators: tuple[str, ...]
) -> FactorReport:
    """Work out the effects by what the last look was given."""
    design = design_of(factors, generators)
    report = FactorReport(
        name=name,
        factors=factors,
        generators=generators,
        cells=len(design.cells),
        resolution=design.resolution,
        words=design_words(design),
        note=_NO_LOOK,
    )
    row = connection.execute(QUERIES["last_evidence"], {"name": name}).first()
    if row is None:
        return report
    seen: dict[str, Any] = {"decision_id": row.id, "looked_at": row.decided_at, "note": ""}
    try:
        evidence = WinnerEvidence.model_validate(row.inputs)
    except ValidationError:
        return report.model_copy(update=seen | {"note": _OLD_LOOK})
    seen |= {"look_number": evidence.look_number, "metrics": _effects(evidence, design)}
    if not row.is_usable:
        seen["note"] = f"At this look nothing was tested, so read nothing into it: {row.sentence}"
    return report.model_copy(update=seen)


def _effects(evidence: WinnerEvidence, design: Design) -> tuple[MetricEffects, ...]:
    names = {cell: cell_name(design, cell) for cell in design.cells}
    return tuple(
        metric_effects(
            measured,
            design,
            names,
            planned_units=evidence.plan.terms.planned_units,
            minimum_per_arm=evidence.plan.minimum_per_arm,
        )
        for measured in (evidence.primary, *evidence.secondaries, *evidence.guardrails)
    )


def _rows(report: FactorReport, metric: MetricEffects) -> list[dict[str, Any]]:
    shared = {
        "experiment": report.name,
        "look": report.look_number,
        "decision": report.decision_id,
        "metric": metric.name,
        "role": metric.role,
        "kind": metric.kind,
        "problem": metric.problem or None,
    }
    effects = (*metric.main, *metric.interactions)
    if not effects:
        return [shared | {"effect": None} | dict.fromkeys(EffectFigures.model_fields)]
    return [shared | {"effect": each.name} | _flat(each) for each in effects]


def _flat(effect: EffectFigures) -> dict[str, Any]:
    told = effect.model_dump()
    lists = {name: "; ".join(value) for name, value in told.items() if isinstance(value, tuple)}
    return told | lists
