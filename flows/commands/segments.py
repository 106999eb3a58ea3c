"""`headway experiment segments | novelty | segment`: where, and for how long, an effect holds."""

from __future__ import annotations

from pathlib import Path

import click

from flows.commands.output import act, emit, json_option, remote_option
from flows.commands.reports import form_options, show_report


@click.command()
@click.argument("name")
@form_options
def segments(name: str, form: str | None, output: Path | None) -> None:
    """Print whether the effects of the experiment NAME differ by its dimensions."""
    from tasks.experiments.reporting.segments import read_segments_report

    show_report(lambda connection: read_segments_report(connection, name), form, output)


@click.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(3, 3650), help="Of units followed for so many days.")
@form_options
def novelty(name: str, days: int | None, form: str | None, output: Path | None) -> None:
    """Print the effect of the experiment NAME by days since exposure: does it last?"""
    from tasks.experiments.reporting.exposure_days import read_exposure_report

    show_report(lambda connection: read_exposure_report(connection, name, days), form, output)


@click.command()
@click.argument("name")
@click.option("--dimension", required=True, help="One of its dimensions.")
@click.option("--level", required=True, help="The value that the units have.")
@click.option("--name", "new", help="Of the new experiment; else made of the three.")
@click.option("--sample-size", type=click.IntRange(1), help="Else the level's share of NAME's.")
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
@click.option("--actor", help="Who does this.")
@click.option("--reason", help="Why; it is kept for ever.")
@remote_option
@json_option
def segment(
    name: str,
    dimension: str,
    level: str,
    new: str | None,
    sample_size: int | None,
    dry_run: bool,
    actor: str | None,
    reason: str | None,
    remote: bool,
    as_json: bool,
) -> None:
    """Create a draft for one segment of the experiment NAME: same arms, metrics and method."""
    from tasks.database import control_engine
    from tasks.experiments.segments.cutting import plan_segment

    if not dry_run and not (actor and reason):
        raise click.UsageError("say who does this and why: --actor and --reason")
    with control_engine().connect() as connection:
        found = plan_segment(connection, name, dimension, level, name=new, sample_size=sample_size)
    for note in found.notes:
        click.echo(note, err=True)
    if dry_run:
        emit(found, as_json, found.plan.model_dump_json(indent=2, exclude_defaults=True))
        return
    parameters = {"plan": found.plan.model_dump(mode="json"), "actor": actor, "reason": reason}
    act("flows.experiments:create_experiment", parameters, remote=remote, as_json=as_json)


commands = (segments, novelty, segment)
