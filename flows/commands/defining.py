"""`headway experiment create | show | plan | edit | start | … | sync`: what experiments are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_MOVES = {
    "start": "Let units into the draft NAME from now on.",
    "pause": "Let nobody new into the experiment NAME; who is in stays in.",
    "resume": "Let units into the paused experiment NAME again.",
    "complete": "End the experiment NAME; its winner is what the last look said.",
    "archive": "Put the completed experiment NAME away.",
    "delete": "Delete the draft NAME.",
}
_EDITS = (
    "--description, --hypothesis, --starts-at, --ends-at, --minimum-sample-size, "
    "--weight VARIANT=SHARE, --label VARIANT=TEXT, --bandit FIELD=VALUE, --file PLAN"
)
_version = click.option("--version", type=int, help="Refuse if it is at another one by now.")


@click.command()
@click.argument("path", type=_file, required=False)
@click.option("-f", "--file", type=_file, help="The plan: a file .toml or .json.")
@click.option("--start", is_flag=True, help="Start it at once; else it is a draft.")
@person_options
@remote_option
@json_option
def create(
    path: Path | None,
    file: Path | None,
    start: bool,
    actor: str,
    reason: str,
    remote: bool,
    as_json: bool,
) -> None:
    """Create the experiment that a file describes (docs/experiments.md)."""
    if (path is None) == (file is None):
        raise click.UsageError("name one file: create -f FILE")
    parameters = {"plan": _plan(file or path), "actor": actor, "reason": reason, "start": start}
    act("flows.experiments:create_experiment", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@person_options
@remote_option
@json_option
def sync(folder: Path, remote: bool, as_json: bool, **given: str) -> None:
    """Create and edit experiments until they are as the files in FOLDER say."""
    parameters = {"folder": str(folder.absolute()), **given}
    act("flows.experiments:sync_experiments", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print what the experiment NAME is: its plan, state, version and what was changed."""
    from tasks.database import control_engine
    from tasks.experiments.definition.showing import as_markdown, show_experiment

    with control_engine().connect() as connection:
        found = show_experiment(connection, name)
    emit(found, as_json, as_markdown(found))


@click.command()
@click.argument("path", type=_file, required=False)
@click.option("-f", "--file", type=_file, help="The plan: a file .toml or .json.")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=28, show_default=True, help="Of history."
)
@click.option("--effect", type=click.FloatRange(0, min_open=True), help="Relative; 0.05 is 5 %.")
@click.option("--mean", type=float, help="Of the control, stated; of a proportion: the rate.")
@click.option("--deviation", type=click.FloatRange(0, min_open=True), help="Of its units' values.")
@click.option("--units-a-week", type=click.FloatRange(0, min_open=True), help="Stated.")
@json_option
def plan(path: Path | None, file: Path | None, as_json: bool, **stated: Any) -> None:
    """Say how many units and days a plan needs, and what other lengths would find.

    From what units did in the last days, or as stated. Nothing is created or changed.
    """
    from tasks.database import control_engine
    from tasks.experiments.definition.planned import as_markdown
    from tasks.experiments.definition.planning import plan_file

    source = file or path
    if source is None or (path and file):
        raise click.UsageError("name one file: plan -f FILE")
    with control_engine().connect() as connection:
        found = plan_file(connection, source, **stated)
    emit(found, as_json, as_markdown(found))


@click.command()
@click.argument("name")
@click.option("--description")
@click.option("--hypothesis")
@click.option("--starts-at", help="Of a draft: when to start it; ISO 8601.")
@click.option("--ends-at", help="When to complete it; ISO 8601.")
@click.option("--minimum-sample-size", type=int, help="Once started, it can only grow.")
@click.option("--weight", "weights", multiple=True, metavar="VARIANT=SHARE")
@click.option("--label", "labels", multiple=True, metavar="VARIANT=TEXT")
@click.option("--bandit", multiple=True, metavar="FIELD=VALUE", help="As floor=0.05.")
@click.option("-f", "--file", type=_file, help="The whole plan anew: a file .toml or .json.")
@_version
@person_options
@remote_option
@json_option
def edit(
    name: str,
    weights: tuple[str, ...],
    labels: tuple[str, ...],
    bandit: tuple[str, ...],
    file: Path | None,
    version: int | None,
    actor: str,
    reason: str,
    remote: bool,
    as_json: bool,
    **words: str | int | None,
) -> None:
    """Change the experiment NAME in what keeps its data valid; a draft in everything."""
    edit = {field: value for field, value in words.items() if value is not None}
    document: dict[str, Any] = edit | {"weights": _shares(weights), "labels": _pairs(labels)}
    document["bandit"] = {field: _value(said) for field, said in _pairs(bandit).items()}
    if file is not None:
        document["plan"] = _plan(file)
    if not (edit or weights or labels or bandit or file):
        raise click.UsageError(f"say what to change: one or more of {_EDITS}")
    given = {"edit": document, "version": version, "actor": actor, "reason": reason}
    _change(name, "edit", given, remote=remote, as_json=as_json)


def _move(action: str, says: str) -> click.Command:
    @click.command(action, help=says)
    @click.argument("name")
    @_version
    @person_options
    @remote_option
    @json_option
    def move(name: str, remote: bool, as_json: bool, **given: str | int | None) -> None:
        _change(name, action, given, remote=remote, as_json=as_json)

    return move


commands = (create, sync, show, plan, edit, *(_move(*each) for each in _MOVES.items()))


def _change(name: str, action: str, given: dict[str, Any], *, remote: bool, as_json: bool) -> None:
    parameters = {"experiment": name, "action": action, **given}
    act("flows.experiments:change_experiment", parameters, remote=remote, as_json=as_json)


def _plan(file: Path | None) -> dict[str, Any]:
    from tasks.experiments.definition.files import read_plan

    return read_plan(file or Path()).model_dump(mode="json")


def _shares(given: tuple[str, ...]) -> dict[str, float]:
    try:
        return {name: float(share) for name, share in _pairs(given).items()}
    except ValueError as error:
        raise click.UsageError(f"a share is a number from 0 to 1: {error}") from None


def _value(said: str) -> float | str:
    try:
        return float(said)
    except ValueError:
        return said


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    # Arms of a multivariate design have = in their names: the last one parts.
    parted = [each.rpartition("=") for each in given]
    wrong = [value for _, equals, value in parted if not equals]
    if wrong:
        raise click.UsageError(f"{wrong[0]!r} is no pair; write NAME={wrong[0]}")
    return {name: value for name, _, value in parted}
