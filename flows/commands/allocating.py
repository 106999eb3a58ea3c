"""`headway experiment allocate | balance`: move the traffic of experiments."""

from __future__ import annotations

from typing import Any

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table


@click.command()
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@remote_option
@json_option
def allocate(name: str | None, dry_run: bool, remote: bool, as_json: bool) -> None:
    """Let the traffic of all active bandits, or of NAME, follow the figures."""
    if name == "":
        raise click.UsageError("the name is empty; leave it out for all active bandits")
    if dry_run and remote:
        raise click.UsageError("--dry-run looks from here: leave --remote out")
    if dry_run:
        _preview(name, as_json)
    else:
        parameters = {"experiment": name} if name else {}
        act("flows.allocate:allocate_traffic", parameters, remote=remote, as_json=as_json)


@click.command()
@click.argument("name")
@person_options
@remote_option
@json_option
def balance(name: str, actor: str, reason: str, remote: bool, as_json: bool) -> None:
    """Bring the split of the fixed design NAME back to the one that it started with."""
    parameters = {"experiment": name, "actor": actor, "reason": reason}
    act("flows.allocate:balance_traffic", parameters, remote=remote, as_json=as_json)


commands = (allocate, balance)


def _preview(name: str | None, as_json: bool) -> None:
    from tasks.experiments.traffic.previewing import preview

    found = preview(name)
    document = {"run_id": None, "mode": "dry-run", "result": found}  # as a run gives it
    emit(document, as_json, "" if as_json else "\n".join(map(_in_words, found)) or "nothing to do")


def _in_words(update: Any) -> str:
    head = ["arm", "new units", "should get", "units", "value", "chance to be best", "loss"]
    rows = [
        [
            arm["name"],
            f"{arm['weight']:.1%}",
            "" if arm["target"] is None else f"{arm['target']:.1%}",
            arm["n"],
            f"{arm['posterior_mean']:.4g}",
            f"{arm['chance_best']:.1%}",
            f"{arm['expected_loss']:.3g}",
        ]
        for arm in update.arms
    ]
    return f"{update.summary}\n{table(head, rows)}" if rows else update.summary
