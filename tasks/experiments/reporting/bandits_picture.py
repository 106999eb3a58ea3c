"""The traffic of each arm over time: shares on top of each other, a step at every epoch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import pairwise

from tasks import markdown
from tasks.experiments.reporting.pictures import WIDTH

_COLOURS = ("#8c959f", "#0969da", "#1a7f37", "#9a6700", "#cf222e", "#8250df", "#bf3989", "#1b7c83")
_LEFT, _TOP, _HEIGHT, _GREY = 40, 12, 220, "#57606a"
_LEGEND = 22


@dataclass(frozen=True, slots=True)
class Split:
    """The share of each arm, in a fixed order, from a moment on."""

    since: datetime
    weights: Mapping[str, float]


def traffic_over_time(splits: Sequence[Split], until: datetime, title: str) -> str:
    """Draw the split from the first one's start until a moment, with a legend of the arms."""
    first = splits[0].since
    span = max((until - first).total_seconds(), 1.0)
    names = list(splits[0].weights)

    def x(moment: datetime) -> float:
        passed = min(max((moment - first).total_seconds(), 0.0), span)
        return round(_LEFT + passed / span * (WIDTH - _LEFT - 10), 1)

    ends = [*(split.since for split in splits), until]
    steps = [(x(start), x(end)) for start, end in pairwise(ends)]
    body = [f"<title>{escape(title)}</title>"]
    below = [0.0] * len(splits)
    for number, name in enumerate(names):
        above = [low + split.weights[name] for low, split in zip(below, splits, strict=True)]
        body.append(_area(steps, below, above, _COLOURS[number % len(_COLOURS)]))
        below = above
    body += [_text(_LEFT - 6, _y(share) + 4, f"{share:.0%}", "end") for share in (0.0, 0.5, 1.0)]
    bottom = _TOP + _HEIGHT + 16
    body += [
        _text(_LEFT, bottom, f"{first:%Y-%m-%d %H:%M}", "start"),
        _text(WIDTH - 10, bottom, _duration(until - first), "end"),
    ]
    body += [_named(name, number, bottom + 8) for number, name in enumerate(names)]
    rows = -(-len(names) // 4)
    return markdown.picture(WIDTH, bottom + 12 + rows * _LEGEND, "".join(body))


def _area(
    steps: Sequence[tuple[float, float]], below: Sequence[float], above: Sequence[float], fill: str
) -> str:
    upper = [
        place
        for (start, end), share in zip(steps, above, strict=True)
        for place in ((start, _y(share)), (end, _y(share)))
    ]
    lower = [
        place
        for (start, end), share in zip(steps, below, strict=True)
        for place in ((start, _y(share)), (end, _y(share)))
    ]
    path = " ".join(f"{x},{y}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon points="{path}" fill="{fill}" fill-opacity="0.75"/>'


def _named(name: str, number: int, top: float) -> str:
    left, y = _LEFT + number % 4 * 165, top + number // 4 * _LEGEND
    square = f'<rect x="{left}" y="{y}" width="12" height="12" '
    fill = f'fill="{_COLOURS[number % len(_COLOURS)]}" fill-opacity="0.75"/>'
    return square + fill + _text(left + 18, y + 11, name[:20], "start")


def _y(share: float) -> float:
    return round(_TOP + (1 - min(share, 1.0)) * _HEIGHT, 1)


def _duration(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.0f} hours"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    style = f'text-anchor="{anchor}" font-size="11" fill="{_GREY}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
