"""The picture of a rollout over time: its percentage, its health and the limits. Pure.

SVG on a white card; one panel for the percentage with a mark for each change, and one for each
metric with what was measured, what the control gave, and the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from math import isfinite

from pydantic import BaseModel, ConfigDict

from tasks import markdown
from tasks.rollouts.definition.state import State
from tasks.rollouts.health.measured import Health

_WIDTH, _LEFT, _RIGHT, _PANEL, _FOOT = 760, 64, 20, 150, 24
_INK, _GREY, _LIGHT, _BLUE, _AMBER = "#24292f", "#57606a", "#d0d7de", "#0969da", "#9a6700"
_COLOURS = {Health.HEALTHY: "#1a7f37", Health.UNHEALTHY: "#cf222e", Health.INCONCLUSIVE: _AMBER}
_APART = 62  # pixels that the name of a change takes
Place = Callable[[float], float]


class Move(BaseModel):
    """One change of a rollout: what it led to."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    cause: str
    percentage: float
    state: State


class Measurement(BaseModel):
    """What one tick measured of one metric, of the version and of its control."""

    model_config = ConfigDict(frozen=True)

    metric: str
    at: datetime
    value: float | None
    control: float | None
    limit: float
    verdict: Health


def timeline(
    moves: Sequence[Move], measurements: Sequence[Measurement], until: datetime, title: str
) -> str:
    """Draw a rollout from its first change ``until`` now, or its end, as a markdown image."""
    metrics = list(dict.fromkeys(each.metric for each in measurements))
    moments = [*(each.at for each in moves), *(each.at for each in measurements), until]
    since = min(moments).timestamp()
    x = _scale(since, max(moments).timestamp(), _LEFT, _WIDTH - _RIGHT)
    height = _PANEL * (1 + len(metrics)) + _FOOT
    parts = [f"<title>{escape(title)}</title>", *_marks(moves, x, height - _FOOT)]
    parts.append(_percentages(moves, until, x))
    for number, metric in enumerate(metrics, 1):
        rows = [each for each in measurements if each.metric == metric]
        parts.append(_health(metric, rows, x, _PANEL * number))
    parts += [
        _text(_LEFT, height - 7, f"{min(moments).astimezone(UTC):%F %H:%M} UTC", "start"),
        _text(_WIDTH - _RIGHT, height - 7, f"{max(moments).astimezone(UTC):%F %H:%M} UTC", "end"),
    ]
    plain = " ".join(title.replace("[", "(").replace("]", ")").split())
    uri = markdown.picture(_WIDTH, height, "".join(parts))
    return f"![{escape(plain, quote=False)}]({uri})"


def _percentages(moves: Sequence[Move], until: datetime, x: Place) -> str:
    y = _scale(0.0, 100.0, _PANEL - 22, 40)
    ends = [*(each.at for each in moves[1:]), until]
    places: list[tuple[float, float]] = []
    for move, end in zip(moves, ends, strict=True):
        level = y(move.percentage)
        places += [(x(move.at.timestamp()), level), (x(end.timestamp()), level)]
    grid = [
        _line(_LEFT, y(share), _WIDTH - _RIGHT, y(share), _LIGHT)
        + _text(_LEFT - 6, y(share) + 4, f"{share:g}", "end")
        for share in (0.0, 50.0, 100.0)
    ]
    line = f'<polyline points="{_path(places)}" fill="none" stroke="{_BLUE}" stroke-width="2.5"/>'
    return _text(8, 16, "% of users", "start", _INK, 13) + "".join(grid) + line


def _marks(moves: Sequence[Move], x: Place, bottom: float) -> Iterable[str]:
    """A line for each change, and its name where there is room for one."""
    latest = float("-inf")
    for move in moves:
        place = x(move.at.timestamp())
        yield _line(place, 30, place, bottom, _LIGHT, "2 3")
        name = min(max(place, _LEFT + _APART / 2), _WIDTH - _RIGHT - _APART / 2)
        is_loud = move.state is State.ROLLED_BACK
        if name - latest >= _APART or is_loud:
            latest = name
            colour = _COLOURS[Health.UNHEALTHY] if is_loud else _GREY
            yield _text(name, 30, _called(move), "middle", colour)


def _called(move: Move) -> str:
    match move.cause:
        case "start" | "advance":
            return f"{move.percentage:g} %"
        case "manual_set":
            return f"set {move.percentage:g} %"
        case cause:
            return cause.removeprefix("manual_")


def _health(metric: str, rows: Sequence[Measurement], x: Place, top: float) -> str:
    known = [
        value
        for each in rows
        for value in (each.value, each.control, each.limit)
        if value is not None and isfinite(value)
    ]
    y = _scale(min([*known, 0.0]), max([*known, 0.0]), top + _PANEL - 22, top + 36)
    values = [(x(each.at.timestamp()), each.value, each) for each in rows]
    dots = [
        f'<circle cx="{place}" cy="{y(value)}" r="3.5" fill="{_COLOURS[each.verdict]}"/>'
        for place, value, each in values
        if value is not None and isfinite(value)
    ]
    limits = [(x(each.at.timestamp()), y(each.limit)) for each in rows]
    controls = [
        (x(each.at.timestamp()), y(each.control))
        for each in rows
        if each.control is not None and isfinite(each.control)
    ]
    limit = rows[-1].limit
    words = "dashed: limit, dotted: control" if controls else "dashed: limit"
    return "".join(
        [
            _text(8, top + 14, metric[:60], "start", _INK, 13),
            _text(_WIDTH / 2, top + 14, words, "middle"),
            _line(_LEFT, y(0.0), _WIDTH - _RIGHT, y(0.0), _LIGHT),
            _polyline(
                [(_LEFT, limits[0][1]), *limits, (_WIDTH - _RIGHT, limits[-1][1])], "#cf222e"
            ),
            _text(_LEFT - 6, y(limit) + 4, f"{limit:.4g}", "end", "#cf222e"),
            _polyline(controls, _GREY, "2 2"),
            _polyline([(p, y(v)) for p, v, _ in values if v is not None and isfinite(v)], _BLUE),
            *dots,
            *_latest(values, y),
            *_unknown(rows, x, top),
        ]
    )


def _latest(values: Sequence[tuple[float, float | None, Measurement]], y: Place) -> Iterable[str]:
    known = [(x, value) for x, value, _ in values if value is not None and isfinite(value)]
    for x, value in known[-1:]:
        yield _text(x, y(value) - 8, f"{value:.4g}", "end", _INK)


def _unknown(rows: Sequence[Measurement], x: Place, top: float) -> Iterable[str]:
    """A tick that measured nothing is shown as one: a gap alone would look like no tick."""
    for each in rows:
        if each.value is None or not isfinite(each.value):
            yield _text(x(each.at.timestamp()), top + _PANEL - 26, "?", "middle", _AMBER, 13)


def _scale(low: float, high: float, start: float, end: float) -> Place:
    """Map [low, high] to pixels; a single value lies at the start."""
    span = high - low
    if span <= 0 or not isfinite(span):
        return lambda _: start
    return lambda value: round(start + (value - low) / span * (end - start), 1)


def _polyline(places: Sequence[tuple[float, float]], colour: str, dashes: str = "6 4") -> str:
    if len(places) < 2:
        return ""
    dash = "" if colour == _BLUE else f' stroke-dasharray="{dashes}"'
    drawn = f'fill="none" stroke="{colour}" stroke-width="1.5"{dash}'
    return f'<polyline points="{_path(places)}" {drawn}/>'


def _path(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    drawn = f'stroke="{colour}" stroke-dasharray="{dashes}"'
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" {drawn}/>'


def _text(
    x: float, y: float, words: str, anchor: str, colour: str = _GREY, size: float = 11
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
