"""Tables and pictures for the reports that runs leave in the UI, as markdown. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from typing import Any


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; whatever a cell holds is shown as it is, in one line."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(value: Any) -> str:
    """Text that people gave, for a cell or a line: no HTML, no line or column of its own."""
    return escape(str(value), quote=False).replace("|", "\\|").replace("\n", " ")


def picture(width: int, height: int, body: str) -> str:
    """An SVG picture on white as a data URI, so that the page needs nothing else.

    ``width`` and ``height`` in pixels; ``body`` is SVG, its texts escaped by the caller.
    """
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f"{body}</svg>"
    )
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
