"""One look as parts of a page: why, every metric with its picture, the checks. Pure."""

from __future__ import annotations

from typing import Any

from tasks import markdown
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.look import ArmFigures, MetricFigures, StoredLook
from tasks.experiments.reporting.pictures import Bar
from tasks.experiments.reporting.words import NONE, day, interval, number, share

OUTCOMES = {
    "better": "significantly better",
    "harm": "significantly worse",
    "open": NONE,
    "safe": "within its margin",
    "failed": "worse than its margin allows",
    "indeterminate": "not yet shown to be within its margin",
}
_ARM_HEAD = (
    "Arm",
    "Assigned",
    "With a value",
    "Value",
    "Difference",
    "Interval",
    "At every look",
    "Lift",
    "Lift, corrected",
    "Effect size",
    "p",
    "p, adjusted",
    "Result",
)
NOTE = (
    "*Interval* and *p* are those of this look alone; *at every look* and *p, adjusted* may be "
    "read as often as you like: the first excludes 0, and the second falls below alpha, just "
    "where the arm is significant. *Lift, corrected* takes away what stopping at a good moment "
    "adds to a lift. *Effect size* is Hedges' g of means and Cohen's h of rates."
)


def standing(look: StoredLook | None) -> str:
    """Why it was decided so, which condition is nearest, and at which look."""
    if look is None:
        return "It has not been looked at yet."
    lines = [f"- {markdown.plain(reason.message)}" for reason in look.reasons]
    if look.nearest:
        lines.append(f"- Nearest condition: {markdown.plain(look.nearest)}")
    if look.futility:
        lines.append(f"- Futility: {markdown.plain(look.futility)}")
    if look.note:
        lines.append(f"- {markdown.plain(look.note)}")
    if look.ending:
        lines.append(f"- It ended with this look: {look.ending}.")
    when = f" on {day(look.decided_at)} UTC" if look.decided_at else ""
    where = (
        f"Look {look.look_number or NONE}{when} by `{look.method}`, "
        f"{share(look.information_fraction)} of the planned sample. Decision {look.decision_id}."
    )
    return "\n".join([*lines, "", where])


def metric_parts(metric: MetricFigures) -> list[str]:
    """One metric: its picture and its figures, or why there are none."""
    head = f"## {metric.role.capitalize()} metric: {markdown.plain(metric.name)}"
    failed = [f"**Failed:** {markdown.plain(metric.failure)}"] if metric.failure else []
    if failed and all(arm.difference is None for arm in metric.arms):
        return [head, *failed]
    rows = [_arm_cells(arm) for arm in metric.arms]
    if metric.control is not None:
        control = metric.control
        shown = (control.assigned, control.n, number(_value(control)))
        rows.insert(0, (f"{control.name} (control)", *shown, *[""] * 9))
    told = f"{head} ({markdown.plain(metric.kind)})"
    return [told, *failed, forest(metric), markdown.table(_ARM_HEAD, rows)]


def forest(metric: MetricFigures) -> str:
    """Each arm's difference: thick for this look alone, thin for every look."""
    told = "; ".join(
        f"{arm.name} {number(arm.difference, sign=True)} "
        f"({interval(arm.lower, arm.upper)}; at every look "
        f"{interval(arm.sequential_lower, arm.sequential_upper)})"
        for arm in metric.arms
    )
    title = f"Differences from the control in {metric.name}: {told or 'none'}"
    return pictures.shown(pictures.bars([_bar(arm) for arm in metric.arms], title), title)


def _bar(arm: ArmFigures) -> Bar:
    return Bar(
        label=arm.name,
        dot=arm.difference,
        thick=(arm.lower, arm.upper),
        thin=(arm.sequential_lower, arm.sequential_upper),
        outcome=arm.outcome,
    )


def _arm_cells(arm: ArmFigures) -> tuple[Any, ...]:
    lift_ends = interval(arm.lift_lower, arm.lift_upper, is_share=True)
    return (
        arm.name,
        NONE if arm.assigned is None else arm.assigned,
        NONE if arm.n is None else arm.n,
        number(_value(arm)),
        number(arm.difference, sign=True),
        interval(arm.lower, arm.upper),
        interval(arm.sequential_lower, arm.sequential_upper),
        share(arm.lift, sign=True) + ("" if lift_ends == NONE else f" ({lift_ends})"),
        share(arm.corrected_lift, sign=True),
        number(arm.effect_size, sign=True),
        number(arm.p_value),
        number(arm.adjusted_p_value),
        _result(arm),
    )


def _value(arm: ArmFigures) -> float | None:
    return arm.mean if arm.value is None else arm.value


def _result(arm: ArmFigures) -> str:
    if arm.problem:
        return f"failed: {arm.problem}"
    said = OUTCOMES.get(arm.outcome, arm.outcome)
    return said if arm.tolerated is None else f"{said} ({number(arm.tolerated)})"


def checks_table(look: StoredLook | None) -> str:
    """What the checks of the data said; those that closed the gate come first, then warnings."""
    if look is None or not look.checks:
        return "No check is stored with the last look."
    order = {"failed": 0, "unknown": 1, "passed": 2}
    checks = sorted(look.checks, key=lambda c: (order[c.outcome], not c.message, c.name))
    rows = [(check.name, _outcome(check), check.message or NONE) for check in checks]
    return markdown.table(("Check", "Outcome", "What was seen"), rows)


def _outcome(check: QualityCheck) -> str:
    warns = check.outcome == "passed" and check.message
    return "passed, with a warning" if warns else check.outcome
