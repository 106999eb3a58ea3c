"""`headway rollout create | start | edit`: what rollouts are to be, from options or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flows.commands.output import act, json_option, person_options, remote_option

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_CLEARED = ("control_version", "organization", "exclusion_group", "starts_at", "requests_per_hour")


def _plan_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-f", "--file", type=_file, help="The plan: a file .toml or .json."),
        click.option("--schedule", help="Stages as percentage/hours, such as 5/2h,25/4h,100/24h."),
        click.option(
            "--guard", type=click.Choice(["threshold", "sequential"]), help="What judges health."
        ),
        click.option("--control-version", help="The version that the others use."),
        click.option("--organization", help="Whose rollout it is."),
        click.option("--exclusion-group", help="Of a group one rollout is under way at a time."),
        click.option(
            "--starts-at", help="When to expose the first stage; ISO 8601, UTC without an offset."
        ),
        click.option("--requests-per-hour", type=float, help="Of all versions, as expected."),
        click.option(
            "--fail-closed/--no-fail-closed",
            "is_fail_closed",
            default=None,
            help="Tell nobody to use it once two ticks have not come.",
        ),
        click.option(
            "--respect-holdouts/--ignore-holdouts",
            "respects_holdouts",
            default=None,
            help="Who is held out keeps the old version; by default of an experiment's winner.",
        ),
        click.option("--tick-seconds", type=float, help="How far apart ticks are; 3600."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _new_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.argument("name", required=False),
        click.argument("model_version", required=False),
        _plan_options,
        click.option("--experiment", help="The experiment whose winner this is."),
        click.option("--variant", help="Its winning variant."),
        click.option(
            "--resalt",
            is_flag=True,
            default=None,
            help="Draw other users than the version's last rollout.",
        ),
        person_options,
        remote_option,
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@_new_options
def create(remote: bool, as_json: bool, actor: str, reason: str, **given: Any) -> None:
    """Write down the rollout NAME of MODEL_VERSION as a draft; nobody sees it yet."""
    planned = _planned(given)
    if "model_version" not in planned:
        raise click.UsageError("name the rollout and its version: create NAME MODEL_VERSION")
    parameters = planned | {"actor": actor, "reason": reason, "is_draft": True}
    act("flows.rollout:start_rollout", parameters, remote=remote, as_json=as_json)


@click.command()
@_new_options
def start(remote: bool, as_json: bool, actor: str, reason: str, **given: Any) -> None:
    """Start the rollout NAME of MODEL_VERSION, or the draft NAME.

    Its first stage is exposed at once, or at --starts-at.
    """
    parameters = _planned(given) | {"actor": actor, "reason": reason}
    act("flows.rollout:start_rollout", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("rollout", metavar="NAME")
@click.option("--model-version", help="Another version.")
@_plan_options
@click.option("--clear", multiple=True, type=click.Choice(_CLEARED), help="Take a value away.")
@person_options
@remote_option
@json_option
def edit(
    rollout: str,
    clear: tuple[str, ...],
    remote: bool,
    as_json: bool,
    actor: str,
    reason: str,
    **given: Any,
) -> None:
    """Change the draft NAME in what is given; the rest stays."""
    both = [name for name in clear if given[name] is not None]
    if both:
        option = f"--{both[0].replace('_', '-')}"
        raise click.UsageError(f"{option} and --clear {both[0]} contradict each other: say one")
    edit = _document(given) | dict.fromkeys(clear)
    edit.pop("name", None)  # a file of the whole plan names it again
    parameters = {
        "rollout": rollout,
        "action": "edit",
        "edit": edit,
        "actor": actor,
        "reason": reason,
    }
    act("flows.rollout:update_rollout", parameters, remote=remote, as_json=as_json)


commands = (create, start, edit)


def _planned(given: dict[str, Any]) -> dict[str, Any]:
    """The flow's parameters: the plan of the file and the options, or a draft's name alone."""
    from tasks.rollouts.definition.plan import as_plan

    document = _document(given)
    if "name" not in document:
        raise click.UsageError("name the rollout, or a file that does: -f FILE")
    if "model_version" not in document:
        return document
    plan = as_plan(document, str(given["file"] or f"rollout {document['name']}"))
    written = plan.model_dump(mode="json", exclude_unset=True)
    return written | ({"schedule": str(plan.schedule)} if "schedule" in written else {})


def _document(given: dict[str, Any]) -> dict[str, Any]:
    """What the file says, and what the options say instead."""
    from tasks.rollouts.definition.files import read_document

    document = read_document(given["file"]) if given["file"] else {}
    said = {name: value for name, value in given.items() if value is not None}
    said.pop("file", None)
    guard = said.pop("guard", None)
    if guard is not None:
        said["policy"] = {**document.get("policy", {}), "guard": guard}
    return document | said
