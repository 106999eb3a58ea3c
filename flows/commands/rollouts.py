"""`headway rollout …`: staged rollouts."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table

# Its parameter is named as the flows name theirs, so that what is given can be passed on as it is.
rollout_argument = click.argument("rollout", metavar="NAME")


@click.group()
def rollout() -> None:
    """Roll a version out in stages: start, progress, pause, resume, roll back."""


@rollout.command("list")
@json_option
def list_rollouts(as_json: bool) -> None:
    """List rollouts with their percentage, state and stage."""
    from tasks.database import control_engine
    from tasks.rollouts.status import rollout_status

    with control_engine().connect() as connection:
        found = rollout_status(connection)
    rows = [[r.name, r.model_version, f"{r.percentage:g} %", r.state, r.stage] for r in found]
    emit(found, as_json, table(["rollout", "version", "traffic", "state", "stage"], rows))


@rollout.command()
@click.argument("user_id")
@click.argument("model_version")
@json_option
def check(user_id: str, model_version: str, as_json: bool) -> None:
    """Say whether USER_ID should use MODEL_VERSION now."""
    from tasks.database import control_engine
    from tasks.rollouts.exposure import should_use_new_model

    with control_engine().connect() as connection:
        answer = should_use_new_model(connection, user_id, model_version)
    document = {"user_id": user_id, "model_version": model_version, "should_use": answer}
    emit(document, as_json, "yes" if answer else "no")


@rollout.command()
@click.argument("name")
@click.argument("model_version")
@click.option("--schedule", help="Stages as percentage/hours, such as 5/2h,25/4h,100/24h.")
@click.option("--experiment", help="The experiment whose winner this is.")
@click.option("--variant", help="Its winning variant.")
@click.option("--resalt", is_flag=True, help="Draw other users than the version's last rollout.")
@person_options
@remote_option
@json_option
def start(remote: bool, as_json: bool, **given: str | bool | None) -> None:
    """Start the rollout NAME of MODEL_VERSION: its first stage is exposed at once."""
    parameters = {name: value for name, value in given.items() if value is not None}
    act("flows.rollout:start_rollout", parameters, remote=remote, as_json=as_json)


@rollout.command()
@click.argument("slot", required=False)
@remote_option
@json_option
def progress(slot: str | None, remote: bool, as_json: bool) -> None:
    """Check health and advance, hold or roll back every rollout that is due (one tick)."""
    act("flows.rollout:progress_rollouts", {"slot": slot}, remote=remote, as_json=as_json)


@rollout.command("roll-back")
@rollout_argument
@person_options
@remote_option
@json_option
def roll_back(remote: bool, as_json: bool, **given: str) -> None:
    """Send the rollout NAME to 0 % now."""
    act("flows.rollout:roll_back_rollout", given, remote=remote, as_json=as_json)


@rollout.command()
@rollout_argument
@person_options
@remote_option
@json_option
def pause(remote: bool, as_json: bool, **given: str) -> None:
    """Stop the clock of the rollout NAME; health checks go on."""
    act("flows.rollout:pause_rollout", given, remote=remote, as_json=as_json)


@rollout.command("resume")
@rollout_argument
@person_options
@remote_option
@json_option
def resume_rollout(remote: bool, as_json: bool, **given: str) -> None:
    """Let the rollout NAME go on after a pause or a manual percentage."""
    act("flows.rollout:resume_rollout", given, remote=remote, as_json=as_json)


@rollout.command("set")
@rollout_argument
@click.argument("percentage", type=click.FloatRange(0, 100))
@person_options
@remote_option
@json_option
def set_percentage(remote: bool, as_json: bool, **given: str | float) -> None:
    """Set the rollout NAME to PERCENTAGE by hand; it holds there until it is resumed."""
    act("flows.rollout:set_rollout_percentage", given, remote=remote, as_json=as_json)
