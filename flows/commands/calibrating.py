"""`headway experiment calibrate | calibrations`: how often tests err on one's own units."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, remote_option, table


@click.command()
@click.argument("name", required=False)
@click.option("--metric", help="Only this metric of NAME.")
@click.option(
    "--draws",
    type=click.IntRange(1000, 1_000_000),
    default=10_000,
    show_default=True,
    help="How often the arms are drawn.",
)
@remote_option
@json_option
def calibrate(
    name: str | None, metric: str | None, draws: int, remote: bool, as_json: bool
) -> None:
    """Count how often the tests of all experiments, or of NAME, find what is not there."""
    if metric and not name:
        raise click.UsageError("a metric is calibrated on the units of an experiment: name it too")
    given = {"experiment": name, "metric": metric, "draws": draws}
    parameters = {option: value for option, value in given.items() if value is not None}
    act("flows.calibrate:calibrate_experiments", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("name", required=False)
@json_option
def calibrations(name: str | None, as_json: bool) -> None:
    """List the latest calibration of every metric, or of those of NAME; broken ones first."""
    from tasks.database import control_engine
    from tasks.experiments.calibration.reading import metrics_of, read_calibrations

    with control_engine().connect() as connection:
        if name is not None:
            metrics_of(connection, name)  # whose name is misspelt is told so
        found = read_calibrations(connection, name)
    rows = [list(each.row.values()) for each in found]
    text = table(list(found[0].row), rows) if found else "nothing has been calibrated yet"
    problems = [each.summary for each in found if each.verdict != "kept"]
    emit(found, as_json, "\n".join([text, *problems]))


commands = (calibrate, calibrations)
