"""The detailed report as a page: tables, pictures, and what each figure means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from pydantic_core import to_json

from tasks import markdown
from tasks.experiments.definition.rollouts import rollouts_table
from tasks.experiments.reporting import pictures
from tasks.experiments.reporting.bandits_page import bandit_parts
from tasks.experiments.reporting.exposure_days_page import exposure_parts
from tasks.experiments.reporting.factors_page import factor_parts
from tasks.experiments.reporting.facts import ArmLook, ReportFacts
from tasks.experiments.reporting.look_page import (
    NOTE,
    OUTCOMES,
    checks_table,
    metric_parts,
    standing,
)
from tasks.experiments.reporting.pictures import Point
from tasks.experiments.reporting.segments_page import segment_parts
from tasks.experiments.reporting.words import NONE, day, interval, number, share

_MOST_ROWS = 60
_LONGEST = 120  # characters of a text in a table


def page(report: ReportFacts) -> str:
    """Write the whole report; the pictures are embedded, so that it needs nothing else."""
    look, novelty = report.last_look, report.novelty
    verdict = f"{report.winner} wins" if report.winner else "no winner"
    title = f"# {markdown.plain(report.name)}: {report.status}, {markdown.plain(verdict)}"
    parts = [
        title,
        standing(look),
        *(part for metric in report.metrics for part in metric_parts(metric)),
        NOTE,
        *(["## Bandit", *bandit_parts(report.bandit, report.as_of)] if report.bandit else []),
        *(["## Factors", *factor_parts(report.factors)] if report.factors else []),
        *_segments(report),
        *(["## Over time since exposure", *exposure_parts(novelty)] if novelty else []),
        *(["## Rollouts", rollouts_table(report.rollouts)] if report.rollouts else []),
        "## Quality of the data",
        checks_table(look),
        "## Every look",
        *_looks(report.looks),
        "## Plan",
        markdown.table(("Field", "Value"), _said(report.plan)),
        markdown.table(*_metrics_table(report.planned_metrics)),
        "## Arms",
        markdown.table(*_arms_table(report.arms)),
        markdown.table(*_given_table(report.arms)),
        "## Splits of the traffic",
        markdown.table(*_epochs_table(report.epochs[-_MOST_ROWS:])),
    ]
    return "\n\n".join(parts) + "\n"


def _segments(report: ReportFacts) -> list[str]:
    """What holds by dimension; nothing where the plan names none."""
    if report.segments is None or not report.segments.dimensions:
        return []
    return ["## Segments", *segment_parts(report.segments, "###", is_short=True)]


def _looks(looks: Sequence[ArmLook]) -> list[str]:
    if not looks:
        return ["There was none."]
    newest = list(reversed(looks))[:_MOST_ROWS]
    head = ("Look", "When", "Sample", "Arm", "n", "Difference", "At every look", "z", "Bound")
    table = markdown.table((*head, "p, adjusted", "Result"), [_look_cells(each) for each in newest])
    rest = len(looks) - len(newest)
    older = [f"{rest} older rows are in the JSON form of this report."] if rest else []
    return [*over_time(looks), table, *older]


def _look_cells(each: ArmLook) -> tuple[Any, ...]:
    return (
        each.number,
        day(each.at),
        share(each.fraction),
        each.arm,
        NONE if each.n is None else each.n,
        number(each.difference, sign=True),
        interval(each.sequential_lower, each.sequential_upper),
        number(each.z, sign=True),
        NONE if each.bound is None else f"±{number(each.bound)}",
        number(each.adjusted_p_value),
        OUTCOMES.get(each.outcome, each.outcome) if each.is_usable else "not tested: gate closed",
    )


def over_time(looks: Sequence[ArmLook]) -> list[str]:
    """Draw the effect with its interval at every look, and z with its bound, an arm a panel."""
    arms = {
        arm: list(rows)
        for arm, rows in groupby(sorted(looks, key=lambda each: each.arm), lambda each: each.arm)
    }
    effects = [
        (f"{arm}: difference from the control", _effects(rows)) for arm, rows in arms.items()
    ]
    scores = [
        (f"{arm}: z, and the bound it has to leave", _scores(rows)) for arm, rows in arms.items()
    ]
    last = "; ".join(
        f"{arm} {number(rows[-1].difference, sign=True)} "
        f"({interval(rows[-1].sequential_lower, rows[-1].sequential_upper)}), "
        f"z {number(rows[-1].z, sign=True)} of ±{number(rows[-1].bound)}"
        for arm, rows in arms.items()
    )
    total = max(each.number for each in looks)
    titles = [
        f"Effect at {total} looks, last: {last}",
        f"z and bound at {total} looks, last: {last}",
    ]
    return [
        pictures.shown(pictures.over_time(panels, title, "look"), title)
        for panels, title in zip((effects, scores), titles, strict=True)
    ]


def _effects(rows: Iterable[ArmLook]) -> list[Point]:
    return [Point(r.number, r.difference, r.sequential_lower, r.sequential_upper) for r in rows]


def _scores(rows: Iterable[ArmLook]) -> list[Point]:
    return [
        Point(row.number, row.z, None if row.bound is None else -row.bound, row.bound)
        for row in rows
    ]


def _said(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _word(value)) for name, value in fields.items() if value not in (None, [], {})]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value, fallback=str).decode().strip('"')


def _metrics_table(metrics: Iterable[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    fields = ("name", "role", "kind", "event_type", "aggregation", "is_higher_better", "margin")
    further = ("alpha", "planned_sample_size", "folded_at", "recomputed_at")
    return _tabled((*fields, *further), metrics)


def _arms_table(arms: Iterable[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    counted = ("units", "conversions", "conversion_rate", "total_value")
    return _tabled(("name", "weight", "is_control", *counted), arms)


def _given_table(arms: Iterable[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    """What the users of each arm are given; what is long is whole in the JSON."""
    texts = ("label", "description", "model_version", "response_template", "system_prompt")
    head, rows = _tabled(("name", *texts, "config_overrides"), arms)
    return head, [[_shortened(cell) for cell in row] for row in rows]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _epochs_table(epochs: Iterable[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    return _tabled(("epoch", "started_at", "split", "actor", "reason"), epochs)


def _tabled(
    fields: Sequence[str], rows: Iterable[dict[str, Any]]
) -> tuple[Sequence[str], list[list[str]]]:
    head = [field.replace("_", " ") for field in fields]
    return head, [[_cell(row.get(field)) for field in fields] for row in rows]


def _cell(value: Any) -> str:
    return NONE if value is None or value == {} else _word(value)
