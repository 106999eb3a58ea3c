"""`headway rollout …`: staged rollouts."""

from __future__ import annotations

from typing import Any

import click

from flows.commands import rollout_plans, sampling, simulating
from flows.commands.output import (
    act,
    emit,
    json_option,
    person_options,
    remote_option,
    rendered,
    table,
)

# Its parameter is named as the flows name theirs, so that what is given can be passed on as it is.
rollout_argument = click.argument("rollout", metavar="NAME")
_MOVES = {
    "pause": "Stop the clock of the rollout NAME; health checks go on.",
    "resume": "Let the rollout NAME go on after a pause or a percentage set by hand.",
    "delete": "Delete the draft NAME; what was done to it stays in the audit.",
}


@click.group()
def rollout() -> None:
    """Roll a version out in stages: create, start, progress, pause, resume, roll back."""


for _command in (*rollout_plans.commands, sampling.sample, simulating.simulate):
    rollout.add_command(_command)


@rollout.command("list")
@json_option
def list_rollouts(as_json: bool) -> None:
    """List rollouts with their percentage, state and stage."""
    from tasks.database import control_engine
    from tasks.rollouts.reporting.status import rollout_status

    with control_engine().connect() as connection:
        found = rollout_status(connection)
    rows = [[r.name, r.model_version, r.traffic, r.state, r.stage] for r in found]
    emit(found, as_json, table(["rollout", "version", "traffic", "state", "stage"], rows))


@rollout.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print where the rollout NAME stands, what comes next, its health, alerts and changes."""
    from tasks.rollouts.reporting.detail import show_rollout
    from tasks.rollouts.reporting.detail_page import as_markdown

    found = show_rollout(name)
    emit(found, as_json, rendered(as_markdown(found)))


@rollout.command()
@click.argument("user_id")
@click.argument("model_version")
@json_option
def check(user_id: str, model_version: str, as_json: bool) -> None:
    """Say whether USER_ID should use MODEL_VERSION now."""
    from tasks.database import control_engine
    from tasks.rollouts.exposure import held_out_by, should_use_new_model

    with control_engine().connect() as connection:
        answer = should_use_new_model(connection, user_id, model_version)
        holdouts = [] if answer else held_out_by(connection, user_id, model_version)
    document = {
        "user_id": user_id,
        "model_version": model_version,
        "should_use": answer,
        "is_held_out": bool(holdouts),
        "held_out_by": holdouts,
    }
    no = f"no: held out by {', '.join(holdouts)}" if holdouts else "no"
    emit(document, as_json, "yes" if answer else no)


@rollout.command()
@click.argument("slot", required=False)
@remote_option
@json_option
def progress(slot: str | None, remote: bool, as_json: bool) -> None:
    """Check health and advance, hold or roll back every rollout that is due (one tick)."""
    act("flows.rollout:progress_rollouts", {"slot": slot}, remote=remote, as_json=as_json)


@rollout.command("rollback")
@rollout_argument
@person_options
@remote_option
@json_option
def roll_back(remote: bool, as_json: bool, **given: str) -> None:
    """Send the rollout NAME to 0 % now, whatever its state."""
    act("flows.rollout:roll_back_rollout", given, remote=remote, as_json=as_json)


@rollout.command("set")
@rollout_argument
@click.argument("percentage", type=click.FloatRange(0, 100))
@person_options
@remote_option
@json_option
def set_percentage(remote: bool, as_json: bool, **given: Any) -> None:
    """Set the rollout NAME to PERCENTAGE by hand; it holds there until it is resumed."""
    _update("percentage", given, remote=remote, as_json=as_json)


def _move(action: str, says: str) -> click.Command:
    @click.command(action, help=says)
    @rollout_argument
    @person_options
    @remote_option
    @json_option
    def move(remote: bool, as_json: bool, **given: Any) -> None:
        _update(action, given, remote=remote, as_json=as_json)

    return move


for _action, _says in _MOVES.items():
    rollout.add_command(_move(_action, _says))


def _update(action: str, given: dict[str, Any], *, remote: bool, as_json: bool) -> None:
    parameters = {"action": action, **given}
    act("flows.rollout:update_rollout", parameters, remote=remote, as_json=as_json)
