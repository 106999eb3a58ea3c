"""`headway experiment holdout`: what a holdout shows beside what was launched meanwhile."""

from __future__ import annotations

from pathlib import Path

import click

from flows.commands.reports import form_options, show_report


@click.command()
@click.argument("name")
@form_options
def holdout(name: str, form: str | None, output: Path | None) -> None:
    """Print what the holdout NAME shows, and what the experiments since it began add up to."""
    from tasks.experiments.reporting.holdout import read_holdout

    show_report(lambda connection: read_holdout(connection, name), form, output)


commands = (holdout,)
