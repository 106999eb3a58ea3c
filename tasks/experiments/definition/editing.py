"""What a person wants an experiment to be, and how that differs from what it is."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, ValidationError

from tasks.errors import InputError, Reason, Refused
from tasks.experiments.definition.lifecycle import FieldChange
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.words import Document, Moment, Name, Planned, Words
from tasks.misfits import problems

_EXACT_DIGITS = 16
ENDED = {"completed", "archived"}
_NAMED = ("description", "hypothesis", "starts_at", "ends_at", "minimum_sample_size")


class ExperimentEdit(Planned):
    """What is to become of an experiment; what is left empty stays."""

    description: Words | None = None
    hypothesis: Words | None = None
    starts_at: Annotated[Moment | None, Field(description="of a draft: when to start it")] = None
    ends_at: Moment | None = None
    minimum_sample_size: Annotated[int | None, Field(ge=2, le=2**31 - 1)] = None
    weights: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="new shares of the traffic, by variant"
    )
    labels: dict[Name, Words] = Field(default_factory=dict, description="by variant")
    bandit: Document = Field(
        default_factory=dict, description="what is to be different in the bandit's policy"
    )
    plan: Annotated[
        ExperimentPlan | None, Field(description="the whole plan anew; also for what was emptied")
    ] = None

    @property
    def is_empty(self) -> bool:
        """True where nothing is asked for."""
        return self == ExperimentEdit()


def edited(plan: ExperimentPlan, edit: ExperimentEdit) -> ExperimentPlan:
    """The plan as the edit would have it; Refused where that does not fit together."""
    target = edit.plan or plan
    if target.name != plan.name:
        raise InputError(f"the new plan is of {target.name!r}, not of {plan.name!r}")
    unknown = {*edit.weights, *edit.labels} - {variant.name for variant in target.variants}
    if unknown:
        raise InputError(f"{plan.name} has no variant {', '.join(sorted(unknown))}")
    told = {name: getattr(edit, name) for name in _NAMED}
    wanted: dict[str, Any] = target.model_dump()
    wanted |= {name: value for name, value in told.items() if value is not None}
    for variant in wanted["variants"]:
        variant["weight"] = edit.weights.get(variant["name"], variant["weight"])
        variant["label"] = edit.labels.get(variant["name"], variant["label"])
    if edit.bandit:
        wanted["bandit"] = (wanted["bandit"] or {}) | edit.bandit
    try:
        return ExperimentPlan.model_validate(wanted)
    except ValidationError as error:
        raise Refused(
            f"experiment {plan.name}", [Reason("invalid-plan", problems(error, ExperimentPlan))]
        ) from None


def as_it_stands(plan: ExperimentPlan, known: ExperimentPlan, status: str) -> ExperimentPlan:
    """The plan, but for what a known experiment changes by itself once it has started.

    A bandit changes its split; what has ended needs no part of a layer any more.
    """
    changed: dict[str, Any] = {}
    if status != "draft" and plan.bandit is not None and known.bandit is not None:
        held = {arm.name: arm.weight for arm in known.variants}
        changed["variants"] = tuple(
            arm.model_copy(update={"weight": held.get(arm.name, arm.weight)})
            for arm in plan.variants
        )
    if status in ENDED:
        changed |= {"layer": known.layer, "layer_share": known.layer_share}
    return plan.model_copy(update=changed)


def comparable(plan: ExperimentPlan) -> dict[str, Any]:
    """A plan as plain values, so that two which mean the same are equal.

    Left out: the baseline, which served to compute the planned sample and is not kept, and what a
    metric is described as, which belongs to all experiments that use it.
    """
    found: dict[str, Any] = json.loads(
        plan.model_dump_json(exclude={"baseline"}), parse_int=_number
    )
    found["variants"].sort(key=lambda arm: (not arm["is_control"], arm["name"]))
    for metrics in ([found["metric"]], found["secondary_metrics"], found["guardrails"]):
        metrics.sort(key=lambda metric: metric["name"])
        for metric in metrics:
            del metric["description"]
    for guardrail in found["guardrails"]:
        guardrail["alpha"] = guardrail["alpha"] or found["alpha"]
    return found


def _number(text: str) -> int | float:
    # jsonb writes 1e23 out as an integer; as a float both forms are the same number again.
    return int(text) if len(text) < _EXACT_DIGITS else float(text)


def differences(old: ExperimentPlan, new: ExperimentPlan) -> tuple[FieldChange, ...]:
    """Every field that differs, in the order of the plan; arms of the same names one by one."""
    before, after = comparable(old), comparable(new)
    arms = {arm["name"]: arm for arm in before["variants"]}
    others = {arm["name"]: arm for arm in after["variants"]}
    if set(arms) == set(others):
        before.pop("variants"), after.pop("variants")
    else:
        arms = {}
    found = [
        FieldChange(field=field, old=before[field], new=value)
        for field, value in after.items()
        if before[field] != value
    ]
    of_arms = [
        FieldChange(field=field, variant=name, old=arm[field], new=others[name][field])
        for name, arm in arms.items()
        for field in arm
        if arm[field] != others[name][field]
    ]
    return (*found, *of_arms)
