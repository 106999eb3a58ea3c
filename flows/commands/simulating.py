"""`headway rollout simulate`: what a rollout would do, before anybody sees the version."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flows.commands.output import act, json_option, remote_option

_OUTAGE = re.compile(r"(?P<check>[^=]+)=(?P<level>[^@]+)@(?P<begin>[^-]+)-(?P<end>.+)")


def _levels(_context: click.Context, _option: click.Parameter, stated: Any) -> dict[str, float]:
    """CHECK=NUMBER, once or more."""
    found = {}
    for each in stated:
        check, _, number = each.partition("=")
        found[check] = _number(number, f"{each!r}: write CHECK=NUMBER, such as error_rate=0.03")
    return found


def _outages(_context: click.Context, _option: click.Parameter, stated: Any) -> list[Any]:
    """CHECK=NUMBER@FROM-UNTIL, once or more."""
    found = []
    for each in stated:
        says = f"{each!r}: write CHECK=NUMBER@HOUR-HOUR, such as error_rate=0.2@10-12"
        parts = _OUTAGE.fullmatch(each)
        if parts is None:
            raise click.BadParameter(says)
        found.append(
            {
                "check": parts["check"],
                "canary": _number(parts["level"], says),
                "control": _number(parts["level"], says),
                "from_hour": _number(parts["begin"], says),
                "until_hour": _number(parts["end"], says),
            }
        )
    return found


def _number(text: str, says: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(says) from None


def _stated(name: str, says: str) -> Callable[..., Any]:
    return click.option(name, multiple=True, metavar="CHECK=NUMBER", callback=_levels, help=says)


@click.command()
@click.option(
    "-f",
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The rollout's plan, .toml or .json: its schedule, policy and traffic.",
)
@click.option("--schedule", help="Stages as percentage/hours, such as 5/2h,25/4h,100/24h.")
@click.option("--guard", type=click.Choice(["threshold", "sequential"]), help="What judges health.")
@_stated("--canary", "What is true of the version: error_rate=0.03.")
@_stated("--control", "What is true of its control; alike, if it is not said.")
@_stated("--deviation", "Of single values of a mean; half the mean, if it is not said.")
@_stated("--drift", "What is added to the version's level every hour.")
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="CHECK=NUMBER@HOUR-HOUR",
    callback=_outages,
    help="What both suffer from one hour to another.",
)
@click.option("--no-control", is_flag=True, help="Nobody measures the old version.")
@click.option("--requests-per-hour", type=float, help="Of all versions together; 2000.")
@click.option("--model-version", help="Go through what is stored of this version, too.")
@click.option("--control-version", help="And of the version before it.")
@click.option("--runs", type=int, help="Rollouts to draw; 200.")
@click.option("--seed", type=int, help="The same seed draws the same rollouts.")
@click.option("--tick-hours", type=float, help="How far apart ticks are; 1.")
@click.option("--most-hours", type=float, help="How far a rollout is followed.")
@click.option(
    "--starts-at",
    "--at",
    help="When it starts, for its freezes; the plan's starts_at, or now. UTC without an offset.",
)
@remote_option
@json_option
def simulate(remote: bool, as_json: bool, **given: Any) -> None:
    """Say when a rollout would stop, how often by mistake, and how long it takes.

    On what is assumed (--canary), what is stored (--model-version), or both.
    """
    parameters = {
        **_planned(given.pop("file"), given.pop("guard")),
        "truth": _truth(given),
        "has_control": not given.pop("no_control"),
        **{name: value for name, value in given.items() if value is not None},
    }
    act("flows.simulate:simulate_rollout", parameters, remote=remote, as_json=as_json)


def _planned(file: Path | None, guard: str | None) -> dict[str, Any]:
    """What a plan says of schedule, policy and traffic; another guard, if one is named."""
    from tasks.rollouts.definition.files import read_document
    from tasks.rollouts.definition.plan import as_plan

    document: dict[str, Any] = {"name": "simulated", "model_version": "simulated"}
    if file is not None:
        document |= read_document(file)
    if guard is not None:
        document["policy"] = {**document.get("policy", {}), "guard": guard}
    plan = as_plan(document, str(file or "what is given"))
    written = plan.model_dump(mode="json", exclude_unset=True)
    taken = ("policy", "control_version", "requests_per_hour", "starts_at")
    planned = {name: written[name] for name in taken if name in written}
    return planned | ({"schedule": str(plan.schedule)} if "schedule" in written else {})


def _truth(given: dict[str, Any]) -> list[dict[str, Any]]:
    canary, outages = given.pop("canary"), given.pop("outages")
    beside = {
        "control": given.pop("control"),
        "deviation": given.pop("deviation"),
        "drift_per_hour": given.pop("drift"),
    }
    unknown = {check for stated in beside.values() for check in stated} | {
        each["check"] for each in outages
    }
    if unknown - set(canary):
        raise click.UsageError(f"say --canary {min(unknown - set(canary))}=NUMBER, too")
    levels = [
        {"check": check, "canary": level}
        | {name: stated[check] for name, stated in beside.items() if check in stated}
        for check, level in canary.items()
    ]
    deviations = beside["deviation"]
    return levels + [
        each | {"deviation": deviations[each["check"]]} if each["check"] in deviations else each
        for each in outages
    ]
