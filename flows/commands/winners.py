"""`headway experiment results` and `headway experiment select-winner`."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table


@click.command()
@click.argument("name")
@json_option
def results(name: str, as_json: bool) -> None:
    """Print what the last look at the experiment NAME found: users and successes of each variant.

    With --json in the shape that applications know: experimentId, results, significance, winner
    and isSignificant.
    """
    from tasks.database import control_engine
    from tasks.experiments.analysis.reading import latest_result

    with control_engine().connect() as connection:
        found = latest_result(connection, name)
    shown = ("variant", "users", "successCount", "successRate", "totalEvents")
    rows = [[arm[column] for column in shown] for arm in found["results"]]
    heads = ["variant", "users", "successes", "success rate", "events"]
    significance = found["significance"]
    standing = "not tested yet" if significance is None else f"significance {significance:.4f}"
    winner = found["winner"] or "none"
    emit(found, as_json, f"{table(heads, rows)}\nwinner: {winner}; {standing}")


@click.command("select-winner")
@click.argument("name")
@click.option("--variant", help="The winner; by default the one that the last look decided on.")
@click.option("--force", is_flag=True, help="Choose it against the last look.")
@person_options
@remote_option
@json_option
def select_winner(
    name: str,
    variant: str | None,
    force: bool,
    actor: str,
    reason: str,
    remote: bool,
    as_json: bool,
) -> None:
    """Complete the experiment NAME with its winner."""
    parameters = {
        "experiment": name,
        "actor": actor,
        "reason": reason,
        "variant": variant,
        "is_forced": force,
    }
    act("flows.analyze:select_winner", parameters, remote=remote, as_json=as_json)


commands = (results, select_winner)
