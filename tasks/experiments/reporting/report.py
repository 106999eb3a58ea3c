"""The report of one look, as the run that took it leaves it."""

from __future__ import annotations

from typing import Any

from tasks import markdown
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.reporting.look import look_of
from tasks.experiments.reporting.look_page import (
    NOTE,
    checks_table,
    metric_parts,
    standing,
)
from tasks.experiments.reporting.words import NONE, number, share


def as_markdown(analysis: Analysis) -> str:
    """Write the report as markdown; the picture is embedded, so the page needs nothing else."""
    name = markdown.plain(analysis.experiment)
    if analysis.verdict is None:
        return f"# {name}\n\nSkipped: {markdown.plain(analysis.message)}.\n"
    found = look_of(analysis.verdict, analysis.metric, analysis.kind)
    look = found.model_copy(update={"decision_id": analysis.decision_id})
    parts = [
        f"# {name}: {markdown.plain(look.winner)} wins" if look.winner else f"# {name}: no winner",
        standing(look),
        *(["The experiment is completed."] if analysis.is_over else []),
        *(part for metric in look.metrics for part in metric_parts(metric)),
        NOTE,
        "## Quality of the data",
        checks_table(look),
        "## Every look",
        _looks_table(analysis),
    ]
    return "\n\n".join(parts) + "\n"


def summary_row(analysis: Analysis) -> dict[str, Any]:
    """One line about one experiment, for the table of a run."""
    details = analysis.verdict.details if analysis.verdict else {}
    fraction = details.get("information_fraction")
    return {
        "experiment": analysis.experiment,
        "verdict": "skipped" if analysis.is_skipped else analysis.verdict and _verdict(analysis),
        "sample": "" if fraction is None else f"{fraction:.0%}",
        "why": analysis.message,
        "decision": analysis.decision_id or "",
    }


def _verdict(analysis: Analysis) -> str:
    return f"winner: {analysis.winner}" if analysis.winner else "no winner"


def _looks_table(analysis: Analysis) -> str:
    head = ("Look", "Sample", "Arm", "n", "Difference", "Statistic", "p", "Bound", "Significant")
    rows = [
        (
            look.number,
            share(look.fraction),
            look.arm,
            look.n,
            number(look.difference, sign=True),
            number(look.statistic, sign=True),
            number(look.p_value),
            NONE if look.bound is None else f"±{number(look.bound)}",
            "yes" if look.is_significant else "no",
        )
        for look in analysis.looks
    ]
    return markdown.table(head, rows)
