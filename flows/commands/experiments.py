"""`headway experiment …`: experiments."""

from __future__ import annotations

import click

from flows.commands import (
    allocating,
    assigning,
    calibrating,
    defining,
    holdouts,
    interacting,
    reports,
    segments,
    winners,
)
from flows.commands.ingesting import ingest, rejected
from flows.commands.output import act, emit, json_option, remote_option, table


@click.group()
def experiment() -> None:
    """Decide experiments: plan and create them, ingest events, analyse, report."""


_groups = (
    *defining.commands,
    *assigning.commands,
    *reports.commands,
    *winners.commands,
    *allocating.commands,
    *calibrating.commands,
    *holdouts.commands,
    *interacting.commands,
    *segments.commands,
)
for _command in (*_groups, ingest, rejected):
    experiment.add_command(_command)


@experiment.command("list")
@json_option
def list_experiments(as_json: bool) -> None:
    """List experiments with their status and winner."""
    from tasks.database import control_engine
    from tasks.experiments.reporting.status import experiment_status

    with control_engine().connect() as connection:
        found = experiment_status(connection)
    rows = [[e.name, e.status, e.looks, e.winner, e.last_verdict] for e in found]
    emit(found, as_json, table(["experiment", "status", "looks", "winner", "last verdict"], rows))


@experiment.command()
@remote_option
@json_option
def analyze(remote: bool, as_json: bool) -> None:
    """Analyse every active experiment that has new data."""
    act("flows.analyze:analyze_experiments", {}, remote=remote, as_json=as_json)


@experiment.command()
@click.argument("name", required=False)
@remote_option
@json_option
def recompute(name: str | None, remote: bool, as_json: bool) -> None:
    """Prove the statistics of all running experiments, or of NAME, from the raw events."""
    parameters = {"experiment": name} if name else {}
    act("flows.recompute:recompute_statistics", parameters, remote=remote, as_json=as_json)
