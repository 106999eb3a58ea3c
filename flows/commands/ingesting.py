"""`headway experiment ingest`: rows from wherever they are."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from flows.commands.output import act, emit, json_option, remote_option, table


@click.command()
@click.argument("path", required=False)
@click.option("--aggregates", metavar="FILE", help="Statistics that somebody else aggregated.")
@click.option("--query", help="A SELECT, or @FILE that holds it; :day is the day.")
@click.option(
    "--connection", help="With --query: the environment variable with the URL, or an environment."
)
@click.option("--url", help="Pages of JSON, over http or https.")
@click.option("--source", "name", help="A source that another package registered.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another field of the source (docs/experiments.md), as often as needed.",
)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day, where the source asks for one; default yesterday.",
)
@click.option("--experiment", help="For rows that name no experiment.")
@click.option("--batch-size", type=click.IntRange(1, 1_000_000), help="Rows to load at a time.")
@remote_option
@json_option
def ingest(
    path: str | None, options: tuple[str, ...], remote: bool, as_json: bool, **given: Any
) -> None:
    """Load assignments and events from PATH (CSV, JSONL, Parquet), or from another source.

    Loading again is harmless: what is known changes nothing, what was corrected is corrected.
    """
    source = described(path, options, given)
    act("flows.ingest:ingest_events", {"source": source}, remote=remote, as_json=as_json)


@click.command()
@click.option("--batch", type=int, help="Only those of this batch.")
@click.option("--experiment", help="Only those that name this experiment, or were loaded for it.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def rejected(batch: int | None, experiment: str | None, limit: int, as_json: bool) -> None:
    """List rows that could not be loaded, with the reason and what they said; the newest first."""
    from tasks.database import control_engine
    from tasks.experiments.ingestion.rejections import list_rejected

    with control_engine().connect() as connection:
        found = list_rejected(connection, batch=batch, experiment=experiment, limit=limit)
    rows = [[r.batch, r.line, r.reason, r.message, r.shortened(), r.source] for r in found]
    headers = ["batch", "line", "reason", "what is wrong", "row", "source"]
    emit(found, as_json, table(headers, rows) if rows else "no rejected rows")


def described(path: str | None, options: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The source that the options describe, as the flow's parameter; UsageError unless just one."""
    kinds = {
        "file": path,
        "aggregates": given["aggregates"],
        "query": given["query"],
        "pages": given["url"],
        "other": given["name"],
    }
    chosen = [(kind, value) for kind, value in kinds.items() if value is not None]
    if len(chosen) != 1:
        raise click.UsageError("name one source: PATH, --aggregates, --query, --url or --source")
    ((kind, value),) = chosen
    day: datetime | None = given["day"]
    fields = {
        "kind": kind,
        _FIELD[kind]: _value(kind, value),
        "connection": given["connection"],
        "experiment": given["experiment"],
        "batch_size": given["batch_size"],
        "day": day.date().isoformat() if day else None,
        **dict(_pair(option) for option in options),
    }
    return {name: found for name, found in fields.items() if found is not None}


_FIELD = {"file": "path", "aggregates": "path", "query": "query", "pages": "url", "other": "name"}


def _value(kind: str, value: str) -> str:
    if kind in {"file", "aggregates"}:
        path = Path(value) if "{day}" in value else _existing(value)
        return str(path.absolute())
    if kind == "query" and value.startswith("@"):
        return _existing(value[1:]).read_text("utf-8")
    return value


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise click.UsageError(f"file {path!r} does not exist")
    return Path(path)


def _pair(option: str) -> tuple[str, Any]:
    """NAME=VALUE; a value that is a JSON object or array is read as that."""
    from pydantic_core import from_json

    name, equals, value = option.partition("=")
    if not equals:
        raise click.UsageError(f"--option takes NAME=VALUE, not {option!r}")
    return name, from_json(value) if value[:1] in {"{", "["} else value
