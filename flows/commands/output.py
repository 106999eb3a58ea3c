"""What a command prints: one JSON document on stdout with `--json`, plain words without."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click
from pydantic_core import to_json

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
)
remote_option = click.option(
    "--remote", is_flag=True, help="Run on a worker of the configured Prefect server."
)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(data:[^)]*\)")


def person_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a person triggers says who did it and why."""
    actor = click.option("--actor", required=True, help="Who does this.")
    reason = click.option("--reason", required=True, help="Why; it is kept for ever.")
    return actor(reason(function))


def emit(document: Any, as_json: bool, text: str) -> None:
    """Print the document as JSON, or the text."""
    if as_json:
        click.echo(to_json(document, indent=2, inf_nan_mode="strings", fallback=str).decode())
    else:
        click.echo(text)


def table(headers: list[str], rows: list[list[Any]], title: str | None = None) -> str:
    """A table as text, as wide as the terminal allows; the first column is never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left")
    for position, header in enumerate(headers):
        drawn.add_column(header, no_wrap=position == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    # Where nobody watches, the reader is a file or a program: lines need not fit a screen.
    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as capture:
        console.print(drawn)
    return capture.get().rstrip("\n")


def rendered(markdown: str) -> str:
    """Markdown as text for a terminal: of a picture, what it says."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as capture:
        console.print(Markdown(_PICTURE.sub(r"\1", markdown)))
    return capture.get().rstrip("\n")


def act(
    flow: str,
    parameters: dict[str, Any],
    *,
    remote: bool,
    as_json: bool,
    in_full: bool = False,
) -> None:
    """Run a flow, named `module:function`, and print how it ended; its whole report if asked."""
    from importlib import import_module

    from flows.execute import execute

    module, _, name = flow.partition(":")
    execution = execute(getattr(import_module(module), name), parameters, remote=remote)
    result = execution.result
    if in_full and hasattr(result, "as_markdown") and not as_json:
        click.echo(rendered(result.as_markdown()))
    emit(execution, as_json, _in_words(result, execution.run_id))


def _in_words(result: Any, run_id: str) -> str:
    results = result if isinstance(result, list) else [result]
    lines = [_summary(each) for each in results] or ["nothing to do"]
    return "\n".join([*lines, f"run: {run_id}"])


def _summary(result: Any) -> str:
    """What a result says of itself in words or in one line, or its fields."""
    from pydantic import BaseModel

    if isinstance(result, BaseModel):
        fields = ", ".join(f"{name}: {value}" for name, value in result)
        return str(getattr(result, "in_words", getattr(result, "summary", fields)))
    return "done" if result is None else str(result)
