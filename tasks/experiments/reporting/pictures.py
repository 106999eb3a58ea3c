"""The pictures of the reports: SVG on a white card, readable on light and dark pages. Pure.

Each is a data URI that needs nothing else; the text that says the same is `title`, which the
reports also give as the picture's alternative text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from tasks import markdown

WIDTH = 720
_ROW, _LABEL, _TOP, _RIGHT = 34, 190, 14, 30
_INK, _GREY, _AXIS, _BLUE, _AMBER = "#24292f", "#57606a", "#8c959f", "#0969da", "#9a6700"
_GREEN, _RED = "#1a7f37", "#cf222e"
_COLOURS = {"better": _GREEN, "safe": _GREEN, "harm": _RED, "failed": _RED}
_PANEL = 190
_MOST_POINTS = 200
Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a thin line, a thick one on it, and a dot; what is None is not drawn."""

    label: str
    dot: float | None
    thick: tuple[float | None, float | None]
    thin: tuple[float | None, float | None]
    outcome: str = "open"


@dataclass(frozen=True, slots=True)
class Point:
    """One look on a line over time; the band is drawn where both ends are known."""

    x: float
    y: float | None
    lower: float | None
    upper: float | None


def bars(rows: Sequence[Bar], title: str, *, is_zero_shown: bool = True) -> str:
    """Draw one row for each bar over a common axis, with the zero where that means something."""
    values = [value for row in rows for value in (row.dot, *row.thick, *row.thin)]
    ends = [*_finite(values), *([0.0] if is_zero_shown else [])] or [0.0]
    x = _scale(min(ends), max(ends), _LABEL + 10, WIDTH - _RIGHT)
    height = _TOP + _ROW * len(rows) + 26
    body = [_title(title)]
    if is_zero_shown:
        body.append(_line(x(0.0), _TOP - 6, x(0.0), height - 22, _AXIS, "4 3"))
    body += [_row(row, _TOP + _ROW * n + _ROW / 2, x) for n, row in enumerate(rows)]
    shown = sorted({min(ends), max(ends), *([0.0] if is_zero_shown else [])})
    body += [_text(x(value), height - 6, f"{value:.3g}", "middle") for value in _apart(shown, x)]
    return markdown.picture(WIDTH, height, "".join(body))


def over_time(
    panels: Sequence[tuple[str, Sequence[Point]]], title: str, unit: str, *, is_whole: bool = False
) -> str:
    """Draw one panel for each line: its value at every look, with the band that goes with it.

    ``unit`` says what the x axis counts. Of more than 200 looks, 200 are drawn, the last always.
    What leaves the limits of the later looks is cut off, unless the line is to be seen whole.
    """
    height = _PANEL * max(len(panels), 1) + 22
    body = [_title(title)]
    for number, (label, points) in enumerate(panels):
        body.append(_panel(label, _thinned(points), _PANEL * number, is_whole=is_whole))
    body.append(_text(WIDTH - _RIGHT, height - 6, unit, "end"))
    return markdown.picture(WIDTH, height, "".join(body))


def shown(uri: str, title: str) -> str:
    """Write a picture as markdown, its title as the alternative text."""
    plain = " ".join(title.replace("[", "(").replace("]", ")").split())
    return f"![{escape(plain, quote=False)}]({uri})"


def _panel(label: str, points: Sequence[Point], top: float, *, is_whole: bool) -> str:
    low, high = _limits(points if is_whole else points[len(points) // 4 :])
    span = [point.x for point in points] or [0.0]
    x = _scale(min(span), max(span), 70, WIDTH - _RIGHT)
    within = _scale(low, high, top + _PANEL - 26, top + 30)

    def y(value: float) -> float:
        return within(min(max(value, low), high))

    banded = [p for p in points if _is_finite(p.lower) and _is_finite(p.upper)]
    edges = [(x(p.x), y(p.upper or 0.0)) for p in banded]
    edges += [(x(p.x), y(p.lower or 0.0)) for p in reversed(banded)]
    line = [(x(p.x), y(p.y)) for p in points if p.y is not None and isfinite(p.y)]
    parts = [
        _text(8, top + 18, label[:80], "start", _INK, 13),
        f'<polygon points="{_path(edges)}" fill="{_AMBER}" fill-opacity="0.18"/>' if edges else "",
        _line(70, y(0.0), WIDTH - _RIGHT, y(0.0), _AXIS, "4 3"),
        f'<polyline points="{_path(line)}" fill="none" stroke="{_BLUE}" stroke-width="2"/>',
        *(_dot(*place, _BLUE, 3) for place in line[-1:]),
        *(_text(62, y(end) + 4, f"{end:.3g}", "end") for end in _apart([low, high], y)),
        *(_text(x(end), top + _PANEL - 8, f"{end:.3g}", "middle") for end in {*_outer(span)}),
    ]
    return "".join(parts)


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    """What the panel has room for: these looks, and zero.

    The first quarter may be left out: it knows next to nothing, and drawn in full it would press
    the rest into a line.
    """
    known = _finite(value for point in points for value in (point.y, point.lower, point.upper))
    return min([*known, 0.0]), max([*known, 0.0])


def _row(row: Bar, y: float, x: Place) -> str:
    colour = _COLOURS.get(row.outcome, _GREY)
    label = _text(8, y + 4, row.label[:28], "start", _INK, 13)
    if not _finite([row.dot]):
        return label + _text(_LABEL + 10, y + 4, "undefined", "start", _GREY, 13)
    lines = [_span(row.thin, y, x, colour, 1.5), _span(row.thick, y, x, colour, 5)]
    return label + "".join(lines) + _dot(x(row.dot or 0.0), y, colour, 5)


def _span(
    ends: tuple[float | None, float | None], y: float, x: Place, colour: str, width: float
) -> str:
    known = _finite(ends)
    if len(known) < len(ends):
        return ""
    return _line(x(known[0]), y, x(known[1]), y, colour, width=width)


def _scale(low: float, high: float, start: float, end: float) -> Place:
    """Map [low, high] to pixels; a single value lies in the middle."""
    if high <= low:
        return lambda _: round((start + end) / 2, 1)
    # Each is divided before the subtraction: the span itself may be too large for a double.
    largest = max(abs(low), abs(high))
    span = high / largest - low / largest
    return lambda value: round(start + (value / largest - low / largest) / span * (end - start), 1)


def _apart(values: Sequence[float], place: Place) -> list[float]:
    """Of the outermost values and zero, those whose labels do not run into each other."""
    kept = [values[0], values[-1], 0.0] if values[0] <= 0.0 <= values[-1] else [*_outer(values)]
    chosen: list[float] = []
    for value in kept:
        if all(abs(place(value) - place(other)) >= 14 for other in chosen):
            chosen.append(value)
    return chosen


def _outer(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _thinned(points: Sequence[Point]) -> list[Point]:
    step = -(-len(points) // _MOST_POINTS) or 1
    return [*reversed([*reversed(points)][::step])]


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and isfinite(value)]


def _is_finite(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _path(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>"


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}" stroke="#fff"/>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "", width: float = 1
) -> str:
    drawn = f'stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"'
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" {drawn}/>'


def _text(
    x: float, y: float, words: str, anchor: str, colour: str = _GREY, size: float = 11
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
