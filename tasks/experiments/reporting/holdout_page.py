"""A holdout as a page: what it shows, what was promised, and whether the two agree. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.holdout_figures import Figure, RolledUp, RollUp
from tasks.experiments.reporting.pictures import Bar
from tasks.experiments.reporting.words import NONE, day, interval, number, share

_MOST_DRAWN = 40


class AssignedBefore(BaseModel):
    """Units of one experiment that had their arm before the holdout began."""

    model_config = ConfigDict(frozen=True)

    experiment: str
    units: int


class HoldoutReport(BaseModel):
    """What a holdout shows beside the experiments that were completed while it ran."""

    model_config = ConfigDict(frozen=True)

    holdout: str
    status: str
    organization: str | None
    started_at: datetime
    ended_at: datetime | None
    as_of: datetime
    metric: str
    kind: str
    is_higher_better: bool
    alpha: float
    held_out: int
    exposed: int
    measured: Figure  # everybody else minus those held out, per unit
    sums: RollUp
    assigned_before: tuple[AssignedBefore, ...]
    held_out_elsewhere: int  # held out, with an arm from before

    @property
    def sentence(self) -> str:
        """What to make of it, in a sentence."""
        if self.measured.value is None:
            return f"What the holdout shows of {self.metric} is not known yet."
        shown = (
            f"Everybody else has {number(self.measured.value, sign=True)} of {self.metric} per "
            "unit beside those held out"
        )
        if self.sums.agreement == "unknown":
            why = self.sums.unknown_because or "the spread of its units is not known"
            return f"{shown}. Whether that is what was promised cannot be told: {why}."
        is_one = self.sums.launched == 1
        told = {
            "agrees": "as far as its units tell, that is what was promised",
            "less": f"{'it was' if is_one else 'they were'} promised to bring more",
            "more": f"that is more than {'it was' if is_one else 'they were'} promised to bring",
        }
        return (
            f"{shown}, and the {_launches(self.sums.launched)} {'adds' if is_one else 'add'} up to "
            f"{number(self.sums.total.value, sign=True)}: {told[self.sums.agreement]}."
        )

    def as_markdown(self) -> str:
        """The sentence, the sums, every effect, and who was not asked."""
        parts = [f"# Holdout {markdown.plain(self.holdout)}", markdown.plain(self.sentence)]
        ended = f" to {day(self.ended_at)}" if self.ended_at else ""
        parts.append(
            f"{self.status}, {day(self.started_at)}{ended} UTC; {self.held_out:,} units held out, "
            f"{self.exposed:,} exposed; as of {day(self.as_of)} UTC."
        )
        parts.append(_sums(self))
        if self.sums.effects:
            parts += _effects(self)
        if self.sums.left_out:
            rows = [(each.experiment, each.problem) for each in self.sums.left_out]
            parts += ["## Left out", markdown.table(("Experiment", "Why"), rows)]
        return "\n\n".join([*parts, *_unasked(self)]) + "\n"

    def csv_rows(self) -> list[dict[str, Any]]:
        """One row an experiment, then the sums and what the holdout shows."""
        rows = [
            _row("effect", each.experiment, each.shrunk)
            | {"raw": each.raw.value, "is_launched": each.is_launched, "reach": each.reach}
            for each in self.sums.effects
        ]
        sums = {
            "total": self.sums.total,
            "raw total": self.sums.raw_total,
            "holdout": self.measured,
            "gap": self.sums.gap,
        }
        empty = {"raw": None, "is_launched": None, "reach": None}
        return [*rows, *(_row(name, "", found) | empty for name, found in sums.items())]


def _launches(count: int) -> str:
    return f"{count} {'launch' if count == 1 else 'launches'}"


def _row(what: str, experiment: str, found: Figure) -> dict[str, Any]:
    kept = found.model_dump(include={"value", "standard_error", "lower", "upper", "p_value"})
    return {"what": what, "experiment": experiment, **kept}


def _sums(report: HoldoutReport) -> str:
    sums = report.sums
    named = [
        ("The holdout: everybody else less those held out", report.measured),
        (f"Whole effects of {_launches(sums.launched)}, without luck", sums.total),
        ("The same as they were found", sums.raw_total),
        ("The holdout less the effects without luck", sums.gap),
    ]
    head = (f"{report.metric} per unit", "Value", f"{1 - report.alpha:.0%} interval", "p")
    rows = [
        (
            name,
            number(found.value, sign=True),
            interval(found.lower, found.upper),
            NONE if found.p_value is None else f"{found.p_value:.3g}",
        )
        for name, found in named
    ]
    return markdown.table(head, rows)


def _effects(report: HoldoutReport) -> list[str]:
    effects = report.sums.effects
    head = (
        "Experiment",
        "Arm",
        "Completed",
        "Launched",
        "Reach",
        "As found",
        "Without luck",
        "",
        "Luck",
    )
    rows = [
        (
            each.experiment,
            each.arm or NONE,
            day(each.completed_at),
            "yes" if each.is_launched else "not yet" if each.has_won else "no",
            NONE if each.reach is None else share(each.reach),
            number(each.raw.value, sign=True),
            number(each.shrunk.value, sign=True),
            interval(each.shrunk.lower, each.shrunk.upper),
            share(each.shrinkage),
        )
        for each in effects
    ]
    told = f"Effects on {report.metric} per unit: as found thin, without luck thick"
    drawn = pictures.bars([_bar(each) for each in effects[:_MOST_DRAWN]], told)
    return ["## Experiments", markdown.table(head, rows), pictures.shown(drawn, told)]


def _bar(each: RolledUp) -> Bar:
    return Bar(
        label=each.experiment,
        dot=each.shrunk.value,
        thick=(each.shrunk.lower, each.shrunk.upper),
        thin=(each.raw.lower, each.raw.upper),
    )


def _unasked(report: HoldoutReport) -> list[str]:
    """Units that weaken what the holdout shows."""
    parts = []
    if report.assigned_before:
        units = sum(each.units for each in report.assigned_before)
        named = ", ".join(f"{each.experiment} ({each.units:,})" for each in report.assigned_before)
        parts.append(
            f"{units:,} units had an arm before the holdout began, and nobody asked it about "
            f"them there: {markdown.plain(named)}."
        )
    if report.held_out_elsewhere:
        parts.append(
            f"{report.held_out_elsewhere:,} units are held out and see an arm of another "
            "experiment all the same, from before: they blur what the holdout shows."
        )
    return ["## Not asked", *parts] if parts else []
