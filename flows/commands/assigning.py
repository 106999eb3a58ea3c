"""`headway experiment assign | variant | override`: who gets which variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option


@click.command()
@click.argument("name")
@click.option(
    "-f",
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A CSV file with a column user_id; also session_id, attributes, metadata.",
)
@click.option("--table", help="Or a table or view of the control database, with these columns.")
@remote_option
@json_option
def assign(name: str, file: Path | None, table: str | None, remote: bool, as_json: bool) -> None:
    """Give many units their variant of the experiment NAME; who has one keeps it."""
    if (file is None) is (table is None):
        raise click.UsageError("name one source of units: --file or --table")
    source = {"path": str(file.absolute())} if file is not None else {"table": table}
    parameters = {"experiment": name, "source": source}
    act("flows.assign:assign_units", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("user_id")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the target rules ask for, as often as needed; JSON, else text.",
)
@click.option("--explain", is_flag=True, help="Say why, and assign nothing.")
@json_option
def variant(
    name: str, user_id: str, attributes: tuple[str, ...], explain: bool, as_json: bool
) -> None:
    """Say which variant of the experiment NAME the user USER_ID gets; the first ask assigns."""
    from tasks.database import control_engine
    from tasks.experiments.assignment.assigning import explain_variant, get_variant

    known = dict(_pair(attribute) for attribute in attributes)
    asked = {"experiment": name, "user_id": user_id}
    with control_engine().begin() as connection:
        if explain:
            choice = explain_variant(connection, name, user_id, known)
            why = f"{choice.why}: {choice.by}" if choice.by else choice.why
            words = f"{choice.variant or 'none'} ({why})"
            return emit(asked | choice.model_dump(), as_json, words)
        answer = get_variant(connection, name, user_id, attributes=known)
    return emit(asked | {"variant": answer}, as_json, answer or "none")


@click.command()
@click.argument("name")
@click.argument("user_id")
@click.argument("chosen", metavar="[VARIANT]", required=False)
@click.option("--remove", is_flag=True, help="Let the bucket choose again.")
@person_options
@remote_option
@json_option
def override(
    name: str,
    user_id: str,
    chosen: str | None,
    remove: bool,
    actor: str,
    reason: str,
    remote: bool,
    as_json: bool,
) -> None:
    """Show USER_ID the VARIANT of the experiment NAME, outside the analysis."""
    if (chosen is None) is not remove:
        raise click.UsageError("name a VARIANT, or --remove the one that was chosen")
    parameters = {
        "experiment": name,
        "unit": user_id,
        "variant": chosen,
        "actor": actor,
        "reason": reason,
    }
    act("flows.assign:override_variant", parameters, remote=remote, as_json=as_json)


commands = (assign, variant, override)


def _pair(attribute: str) -> tuple[str, Any]:
    import json

    name, equals, value = attribute.partition("=")
    if not equals:
        raise click.UsageError(f"--attribute takes NAME=VALUE, not {attribute!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
