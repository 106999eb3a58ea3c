"""What an experiment is, for a person who wants to know: plan, state, and how it came to be so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from sqlalchemy import Connection

from tasks import markdown
from tasks.experiments.definition.designed import design_parts
from tasks.experiments.definition.plan import ExperimentPlan, MetricPlan, VariantPlan
from tasks.experiments.definition.reading import QUERIES, StoredExperiment, read_experiment
from tasks.experiments.definition.rollouts import RolledOut, rollouts_of, rollouts_table

_SHOWN_APART = {"name", "variants", "metric", "secondary_metrics", "guardrails", "factors"}


class Change(BaseModel):
    """One change that was made to an experiment."""

    model_config = ConfigDict(frozen=True)

    changed_at: datetime
    action: str
    changed: tuple[str, ...]
    actor: str | None
    reason: str | None


class ShownExperiment(BaseModel):
    """An experiment with its plan and its changes, the newest first."""

    model_config = ConfigDict(frozen=True)

    experiment: StoredExperiment
    changes: tuple[Change, ...]
    rollouts: tuple[RolledOut, ...] = ()
    segments: tuple[str, ...] = ()  # experiments that were cut out of it


def show_experiment(connection: Connection, name: str) -> ShownExperiment:
    """Read an experiment and what was done to it; NotFound where there is none."""
    found = read_experiment(connection, name)
    rows = connection.execute(QUERIES["changes"], {"subject": f"experiment:{name}"})
    return ShownExperiment(
        experiment=found,
        changes=tuple(Change(**row._asdict()) for row in rows),
        rollouts=rollouts_of(connection, name),
        segments=tuple(connection.scalars(QUERIES["cut_out"], {"name": name})),
    )


def as_markdown(shown: ShownExperiment) -> str:
    """The experiment for people: what was set, arm by arm and metric by metric."""
    found, plan = shown.experiment, shown.experiment.plan
    said = plan.model_dump(mode="json", exclude=_SHOWN_APART, exclude_defaults=True)
    if plan.bandit is not None:
        said["bandit"] = plan.bandit.model_dump(mode="json")
    arms = [[arm.name, f"{arm.weight:g}", _rest(arm, "name", "weight")] for arm in plan.variants]
    metrics = [
        [role, metric.name, metric.kind, _rest(metric, "name", "kind")]
        for role, measured in _by_role(plan).items()
        for metric in measured
    ]
    parts = [
        f"# {markdown.plain(found.name)}: {found.status}, version {found.version}",
        markdown.table(["field", "value"], [[name, _word(value)] for name, value in said.items()]),
        *(design_parts(plan.factors, plan.design) if plan.design else []),
        markdown.table(["variant", "weight", "further"], arms),
        markdown.table(["role", "metric", "kind", "further"], metrics),
    ]
    if shown.segments:
        names = ", ".join(markdown.plain(name) for name in shown.segments)
        parts.append(f"Experiments for one segment of it: {names}.")
    if shown.rollouts:
        parts.append(rollouts_table(shown.rollouts))
    if shown.changes:
        rows = [_change_row(each) for each in shown.changes]
        parts.append(markdown.table(["when", "what", "changed", "who", "why"], rows))
    return "\n\n".join(parts)


def _by_role(plan: ExperimentPlan) -> dict[str, tuple[MetricPlan, ...]]:
    secondary, guardrails = plan.secondary_metrics, plan.guardrails
    return {"primary": (plan.metric,), "secondary": secondary, "guardrail": guardrails}


def _rest(part: VariantPlan | MetricPlan, *shown: str) -> str:
    said = part.model_dump(mode="json", exclude={*shown}, exclude_defaults=True)
    return ", ".join(f"{name}: {_word(value)}" for name, value in said.items())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _change_row(each: Change) -> list[str]:
    when = f"{each.changed_at:%Y-%m-%d %H:%M}"
    return [when, each.action, ", ".join(each.changed), each.actor or "", each.reason or ""]
