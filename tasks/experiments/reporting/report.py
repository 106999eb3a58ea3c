"""The report of one look: what happened, why or why not, the figures, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tasks import markdown
from tasks.experiments.analysis.results import Analysis

_WIDTH, _ROW, _LABEL, _TOP = 720, 34, 170, 14
_COLOURS = {"better": "#1a7f37", "harm": "#cf222e", "open": "#57606a"}
_OUTCOMES = {"better": "significantly better", "harm": "significantly worse", "open": "–"}


def as_markdown(analysis: Analysis) -> str:
    """Write the report as markdown; the picture is embedded, so the page needs nothing else."""
    if analysis.verdict is None:
        return f"# {analysis.experiment}\n\nSkipped: {analysis.message}.\n"
    details = analysis.verdict.details
    title = f"{details['winner']} wins" if details["winner"] else "no winner"
    sentences = "\n".join(f"- {reason.message}" for reason in analysis.verdict.reasons)
    parts = [
        f"# {analysis.experiment}: {title}",
        sentences,
        _standing(analysis, details),
        f"![Differences from the control]({forest_plot(details['arms'])})",
        _arms_table(details),
        "## Every look",
        _looks_table(analysis),
        _NOTE,
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


def forest_plot(arms: Sequence[dict[str, Any]]) -> str:
    """Draw each arm's difference with its interval, as an SVG data URI.

    The thick line is the interval of this look alone, the thin one may be read at every look.
    """
    ends = [arm[name] for arm in arms for name in _ENDS if arm[name] is not None]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    scale = (_WIDTH - _LABEL - 30) / ((high - low) or 1.0)

    def x(value: float) -> float:
        return float(round(_LABEL + 10 + (value - low) * scale, 1))

    height = _TOP + _ROW * len(arms) + 26
    zero = x(0.0)
    axis = f'x1="{zero}" x2="{zero}" y1="{_TOP - 6}" y2="{height - 22}"'
    body = [
        f'<line {axis} stroke="#8c959f" stroke-dasharray="4 3"/>',
        *(_drawn(arm, _TOP + _ROW * row + _ROW / 2, x) for row, arm in enumerate(arms)),
        *(_tick(x(value), height - 6, value) for value in sorted({low, 0.0, high})),
    ]
    return markdown.picture(_WIDTH, height, "".join(body))


_ENDS = ("lower", "upper", "sequential_lower", "sequential_upper")


def _drawn(arm: dict[str, Any], y: float, x: Any) -> str:
    colour = _COLOURS[arm["outcome"]]
    label = f'<text x="8" y="{y + 4}" fill="#24292f">{escape(arm["name"][:24])}</text>'
    if arm["difference"] is None:
        return f'{label}<text x="{_LABEL + 10}" y="{y + 4}" fill="#57606a">undefined</text>'
    lines = "".join(
        f'<line x1="{x(arm[low])}" x2="{x(arm[high])}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
        for low, high, width in ((*_ENDS[2:], 1.5), (*_ENDS[:2], 5))
        if arm[low] is not None and arm[high] is not None
    )
    dot = f'<circle cx="{x(arm["difference"])}" cy="{y}" r="5" fill="{colour}" stroke="#fff"/>'
    return label + lines + dot


def _tick(x: float, y: float, value: float) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" font-size="11" fill="#57606a">'
        f"{value:.3g}</text>"
    )


def _verdict(analysis: Analysis) -> str:
    return f"winner: {analysis.winner}" if analysis.winner else "no winner"


def _standing(analysis: Analysis, details: dict[str, Any]) -> str:
    ratio, values = details["sample_ratio"]["p_value"], details["value_ratio"]["p_value"]
    ending = " The experiment is completed." if analysis.is_over else ""
    return (
        f"Look {details['look_number']} on metric `{analysis.metric}`, "
        f"{details['information_fraction']:.0%} of the planned sample. "
        f"Traffic as planned: p = {_number(ratio)} (units assigned), {_number(values)} (units "
        f"with a value). Decision {analysis.decision_id}.{ending}"
    )


def _arms_table(details: dict[str, Any]) -> str:
    control = details["control"]
    head = (
        "Arm",
        "Assigned",
        "With a value",
        "Mean",
        "Difference",
        "Interval",
        "Interval at every look",
        "Lift",
        "p",
        "z",
        "Bound",
        "Result",
    )
    first = (
        f"{control['name']} (control)",
        control["assigned"],
        control["n"],
        _number(control["mean"]),
        *[""] * 8,
    )
    return markdown.table(head, [first, *(_arm_cells(arm) for arm in details["arms"])])


def _arm_cells(arm: dict[str, Any]) -> tuple[Any, ...]:
    return (
        arm["name"],
        arm["assigned"],
        arm["n"],
        _number(arm["mean"]),
        _number(arm["difference"], sign=True),
        _interval(arm["lower"], arm["upper"]),
        _interval(arm["sequential_lower"], arm["sequential_upper"]),
        "–" if arm["lift"] is None else f"{arm['lift']:+.2%}",
        _number(arm["p_value"]),
        _number(arm["z"], sign=True),
        "–" if arm["bound"] is None else f"±{arm['bound']:.3f}",
        _OUTCOMES[arm["outcome"]],
    )


def _looks_table(analysis: Analysis) -> str:
    head = ("Look", "Sample", "Arm", "n", "Difference", "Statistic", "p", "Bound", "Significant")
    rows = [
        (
            look.number,
            f"{look.fraction:.0%}",
            look.arm,
            look.n,
            _number(look.difference, sign=True),
            "–" if look.statistic is None else f"{look.statistic:+.2f}",
            _number(look.p_value),
            "–" if look.bound is None else f"±{look.bound:.3f}",
            "yes" if look.is_significant else "no",
        )
        for look in analysis.looks
    ]
    return markdown.table(head, rows)


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def _interval(lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return "–"
    return f"{lower:+.4g} to {upper:+.4g}"


_NOTE = (
    "An arm is significant once |z| has reached its bound at any look. The bounds share the "
    "allowed error out over all looks (α·t²) and, by Holm, over the arms, so looking often does "
    "not make a winner. *Interval* and *p* are those of this look alone."
)
