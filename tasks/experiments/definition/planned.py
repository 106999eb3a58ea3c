"""What a plan needs, as figures and for people."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.experiments.definition.sample import Baseline


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Detectable(_Answer):
    """The smallest relative effect that so many units, which come in so many weeks, find."""

    weeks: int | None  # None: the size that the plan states
    units: int
    effect: float | None  # None: not any


class SamplePlan(_Answer):
    """What a plan needs: units with a value, days, and what other lengths would find."""

    experiment: str
    metric: str
    minimum_effect: float | None
    power: float
    baseline: Baseline
    source: str
    planned_sample_size: int | None = None  # None: no effect is named
    arms: dict[str, int] = {}  # units of each
    alpha: float | None = None  # of each comparison
    inflation: float | None = None  # what looking often costs, as a factor of the sample
    units_a_week: float | None = None  # with a value; None: nobody knows
    days: int | None = None
    detectable: tuple[Detectable, ...] = ()
    messages: tuple[str, ...] = ()


def as_markdown(planned: SamplePlan) -> str:
    """The answer for people."""
    lines = [f"# Plan of {markdown.plain(planned.experiment)}"]
    if planned.planned_sample_size is not None:
        arms = ", ".join(f"{name} {units:,}" for name, units in planned.arms.items())
        lines.append(
            f"**{planned.planned_sample_size:,} units** with a value find a relative effect of "
            f"{planned.minimum_effect:.3g} on {planned.metric} with power {planned.power:g} "
            f"({arms}). Looking at every hour is paid for: × {planned.inflation:.3f}."
        )
    if planned.days is not None:
        came = f"{planned.units_a_week:,.0f} units a week"
        lines.append(f"At {came} that takes **{planned.days} days**.")
    lines += [planned.source, *planned.messages]
    if planned.detectable:
        head = ["weeks", "units", "smallest effect found"]
        lines.append(markdown.table(head, [_row(each) for each in planned.detectable]))
    return "\n\n".join(lines)


def _row(each: Detectable) -> list[str]:
    weeks = "as stated" if each.weeks is None else str(each.weeks)
    return [weeks, f"{each.units:,}", "none" if each.effect is None else f"{each.effect:.2%}"]
