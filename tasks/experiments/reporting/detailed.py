"""Everything about one experiment: plan, arms, metrics, checks, every look, every split."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.definition.rollouts import rollouts_of
from tasks.experiments.exposure.gathering import read_novelty
from tasks.experiments.reporting.bandits import read_bandit
from tasks.experiments.reporting.detailed_page import page
from tasks.experiments.reporting.factors import planned_factors
from tasks.experiments.reporting.facts import ArmLook, ReportFacts
from tasks.experiments.reporting.look import ArmFigures, MetricFigures, StoredLook, stored_look
from tasks.experiments.segments.gathering import read_segments

QUERIES = load_queries(__package__)
_NOT_FOLDED = "it has no statistics yet"
_NOT_LOOKED_AT = "the last look did not include it"


class DetailedReport(ReportFacts):
    """One experiment in full, as a page or as rows."""

    def as_markdown(self) -> str:
        """The report as a page with its pictures."""
        return page(self)

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row an arm and metric; a metric that failed is one row with its reason."""
        return [row for metric in self.metrics for row in _metric_rows(self, metric)]


def read_report(connection: Connection, name: str) -> DetailedReport:
    """Read all there is about an experiment; NotFound where there is none of that name."""
    head = connection.execute(QUERIES["report_head"], {"name": name}).first()
    if head is None:
        raise NotFound(f"no experiment is called {name!r}; `headway experiment list` lists them")
    planned: list[dict[str, Any]] = head.metrics or []
    primary = planned[0] if planned and planned[0]["role"] == "primary" else {}
    row = connection.execute(QUERIES["last_look"], {"name": name}).first()
    look = stored_look(row, primary.get("name", ""), primary.get("kind", "")) if row else None
    looks = connection.execute(QUERIES["every_look"], {"experiment_id": head.id}).mappings()
    return DetailedReport(
        name=head.name,
        status=head.status,
        as_of=head.now,
        plan=_plan(head),
        arms=tuple(head.variants or ()),
        planned_metrics=tuple(planned),
        epochs=tuple(head.epochs or ()),
        winner=head.winner,
        last_look=look,
        metrics=tuple(_figures(each, look) for each in planned),
        looks=tuple(ArmLook.model_validate(dict(row)) for row in looks),
        rollouts=rollouts_of(connection, head.name),
        bandit=read_bandit(connection, head.name),
        factors=planned_factors(connection, head.name, head.plan or {}),
        segments=read_segments(connection, head.name),
        novelty=read_novelty(connection, head.name),
    )


def _plan(head: Any) -> dict[str, Any]:
    own = ("description", "hypothesis", "target_bot", "minimum_sample_size", "started_at")
    return {
        **{field: getattr(head, field) for field in (*own, "completed_at")},
        **(head.plan or {}),
    }


def _figures(planned: dict[str, Any], look: StoredLook | None) -> MetricFigures:
    """What the last look said of a metric; if nothing, then why."""
    known = {name: planned[name] for name in ("name", "role", "kind")}
    found = [each for each in look.metrics if each.name == planned["name"]] if look else []
    if found:
        return found[0].model_copy(update=known)
    why = _NOT_FOLDED if look is None or planned["folded_at"] is None else _NOT_LOOKED_AT
    return MetricFigures(**known, outcome="unknown", failure=why)


def _metric_rows(report: DetailedReport, metric: MetricFigures) -> list[dict[str, Any]]:
    look = report.last_look
    shared = {
        "experiment": report.name,
        "look": look.look_number if look else None,
        "decision": look.decision_id if look else None,
        "metric": metric.name,
        "role": metric.role,
        "kind": metric.kind,
        "failure": metric.failure,
    }
    controls = [(metric.control, True)] if metric.control else []
    told = [*controls, *((arm, False) for arm in metric.arms)]
    if metric.failure or not told:
        return [shared | {"is_control": None} | dict.fromkeys(_ARM_FIELDS)]
    return [
        shared | {"is_control": is_control, "arm": arm.name} | arm.model_dump(exclude={"name"})
        for arm, is_control in told
    ]


_ARM_FIELDS = ("arm", *(field for field in ArmFigures.model_fields if field != "name"))
