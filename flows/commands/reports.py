"""`headway experiment report | dashboard | compare`: what the looks decided, in every form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.commands.output import rendered
from tasks.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FORMATS = ("markdown", "json", "csv")
_BY = ("variant", "period", "segment")


def form_options(function: Callable[..., None]) -> Callable[..., None]:
    """Every report can be had in each form, on the screen or in a file."""
    form = click.option(
        "--format", "form", type=click.Choice(_FORMATS), help="Else as text for the terminal."
    )
    json = click.option("--json", "form", flag_value="json", help="The same as --format json.")
    path = click.Path(dir_okay=False, writable=True, path_type=Path)
    output = click.option("-o", "--output", type=path, help="Write it to a file (markdown).")
    return form(json(output(function)))


@click.command()
@click.argument("name")
@form_options
def report(name: str, form: str | None, output: Path | None) -> None:
    """Print all about the experiment NAME: verdict, figures, checks, every look, plan."""
    from tasks.experiments.reporting.detailed import read_report

    show_report(lambda connection: read_report(connection, name), form, output)


@click.command()
@form_options
def dashboard(form: str | None, output: Path | None) -> None:
    """Print where every experiment stands, and what to do next."""
    from tasks.experiments.reporting.dashboard import read_dashboard

    show_report(read_dashboard, form, output)


@click.command()
@click.argument("name")
@click.option("--by", type=click.Choice(_BY), default="variant", show_default=True)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Of a period."
)
@form_options
def compare(name: str, by: Any, days: int, form: str | None, output: Path | None) -> None:
    """Compare the metrics of the experiment NAME, with percentiles.

    Between its variants, between the last days and as many before, or within each segment.
    """
    from tasks.experiments.reporting import comparison

    show_report(lambda connection: comparison.compare(connection, name, by, days), form, output)


@click.command()
@click.argument("name")
@form_options
def factors(name: str, form: str | None, output: Path | None) -> None:
    """Print what each factor of the multivariate experiment NAME does, and which change others.

    By the figures of its last look: main effects and interactions of two, with intervals.
    """
    from tasks.experiments.reporting.factors import read_factors

    show_report(lambda connection: read_factors(connection, name), form, output)


commands = (report, dashboard, compare, factors)


def show_report(read: Callable[[Connection], Any], form: str | None, output: Path | None) -> None:
    """Read a report as of one moment; print it, or write it to the file."""
    from tasks.experiments.reporting import formats
    from tasks.experiments.reporting.reading import one_moment

    with one_moment() as connection:
        found = read(connection)
    if output is not None:
        try:
            output.write_text(formats.rendered(found, form or "markdown"), "utf-8")
        except OSError as error:
            raise InputError(
                f"{output} cannot be written ({error.strerror}); "
                "name a file in a folder that exists and that you may write to"
            ) from None
        click.echo(f"written: {output}", err=True)
    elif form is None:
        click.echo(rendered(found.as_markdown()))
    else:
        click.echo(formats.rendered(found, form), nl=form == "json")
