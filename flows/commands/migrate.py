"""`headway migrate …`: the schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table

if TYPE_CHECKING:
    from tasks.migrations.timeline import HistoryRow

environment_option = click.option(
    "--env", "environment", default="local", show_default=True, help="Environment to work on."
)
target_option = click.option(
    "--target", default="head", show_default=True, help="Revision to migrate to."
)


def preparing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a change is judged before it is made."""
    approve = click.option(
        "--approve", multiple=True, metavar="CODE@REVISION", help="A hazard that may be."
    )
    rehearse = click.option(
        "--rehearse/--no-rehearse", default=True, help="Try it out on a copy first."
    )
    return approve(rehearse(function))


def _user() -> str:
    import getpass

    return getpass.getuser()


def _one_of(chosen: dict[str, bool], options: str) -> str:
    names = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(names) != 1:
        raise click.UsageError(f"give one of {options}")
    return names[0]


def _why(row: HistoryRow) -> str:
    if len(row.reasons) > 1:  # the messages of many are in --json
        return ", ".join(dict.fromkeys(reason.code for reason in row.reasons))
    if row.reasons:
        return "; ".join(f"[{reason.code}] {reason.message}" for reason in row.reasons)
    return row.message or row.reason or ""


@click.group()
def migrate() -> None:
    """Migrate the schema: plan, run, roll back, find conflicts and drift, sync environments."""


@migrate.command()
@json_option
def status(as_json: bool) -> None:
    """Show each environment: revision, pending revisions, drift, last run."""
    from tasks.migrations.status import migration_status

    environments = migration_status()
    rows = [
        [e.environment, e.current_revision, e.head, len(e.pending), e.state, e.drift, e.last_run]
        for e in environments
    ]
    headers = ["environment", "revision", "scripts", "pending", "state", "drift", "last run"]
    problems = [f"{e.environment}: {e.problem}" for e in environments if e.problem]
    emit(environments, as_json, "\n".join([table(headers, rows), *problems]))


@migrate.command()
@environment_option
@target_option
@preparing_options
@click.option("--run-spliced", is_flag=True, help="Also what was put below the head later.")
@click.option("--actor", default=_user, help="Who asks; by default the system's user.")
@remote_option
@json_option
def plan(remote: bool, as_json: bool, **parameters: Any) -> None:
    """Find out what `run` would do, rehearse it on a copy, and keep the plan. Changes nothing."""
    act("flows.migrate:plan_migrations", parameters, remote=remote, as_json=as_json, in_full=True)


@migrate.command()
@environment_option
@target_option
@click.option("--plan", metavar="HASH", help="Run exactly this plan, or nothing.")
@preparing_options
@click.option("--run-spliced", is_flag=True, help="Run also what was put below the head later.")
@click.option("--terminate-orphans", is_flag=True, help="End sessions that a dead run left.")
@person_options
@remote_option
@json_option
def run(remote: bool, as_json: bool, **parameters: Any) -> None:
    """Apply pending revisions, one retryable step each, then validate."""
    act("flows.migrate:apply_migrations", parameters, remote=remote, as_json=as_json)


@migrate.command()
@click.argument("steps", type=click.IntRange(min=1), default=1)
@click.option("--to", metavar="REVISION", help="Down to this revision; it stays.")
@environment_option
@click.option(
    "--map",
    "map_values",
    multiple=True,
    metavar="TYPE.VALUE=VALUE",
    help="Rows with an enum value that goes get another; the old one is archived.",
)
@click.option("--use-stored", is_flag=True, help="Use the stored copy of a file that is gone.")
@click.option("--confirm", help="The environment's name again, where it is protected.")
@preparing_options
@person_options
@remote_option
@json_option
def rollback(remote: bool, as_json: bool, **parameters: Any) -> None:
    """Roll back the last STEPS revisions (1 by default); rows that go are archived."""
    act("flows.migrate:roll_back_migrations", parameters, remote=remote, as_json=as_json)


@migrate.command()
@environment_option
@click.option("--confirm", required=True, help="The environment's name again.")
@preparing_options
@person_options
@remote_option
@json_option
def reset(remote: bool, as_json: bool, **parameters: Any) -> None:
    """Roll back everything; all rows are archived first. Protected environments refuse."""
    act("flows.migrate:reset_migrations", parameters, remote=remote, as_json=as_json)


@migrate.command()
@environment_option
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--verify", is_flag=True, help="Check that no row was changed or removed.")
@json_option
def history(environment: str, limit: int, verify: bool, as_json: bool) -> None:
    """Show what ran on an environment, what failed and what was refused; the newest first."""
    from tasks.errors import Reason, Refused
    from tasks.migrations.timeline import read_history, verify_environment

    if verify:
        broken = verify_environment(environment)
        if broken:
            reasons = [Reason("history-changed", f"row {b.id}: {b.problem}") for b in broken]
            raise Refused(f"the history of {environment}", reasons)
    found = read_history(environment, limit)
    rows = [
        [f"{r.at:%Y-%m-%d %H:%M:%S}", r.direction, r.revision, r.outcome, r.actor, _why(r)]
        for r in found
    ]
    text = table(["at", "direction", "revision", "outcome", "actor", "why"], rows)
    verified = "\nno row was changed or removed" if verify else ""
    emit(found, as_json, (text if rows else "nothing ran yet") + verified)


@migrate.command()
@environment_option
@json_option
def conflicts(environment: str, as_json: bool) -> None:
    """List what is wrong with the revision files, or between them and the database (exit 3)."""
    from tasks.errors import Refused
    from tasks.migrations.status import migration_status

    (found,) = migration_status([environment])
    if found.reasons:
        raise Refused(f"migrating {environment}", found.reasons)
    emit(found, as_json, found.problem or f"{environment}: no conflicts ({found.state})")


@migrate.command()
@environment_option
@click.option("--merge", is_flag=True, help="Join the heads (REVISIONS, or all), if they commute.")
@click.option("--reparent", is_flag=True, help="Put a revision that came late behind the head.")
@click.option("--restore", is_flag=True, help="Write a revision's file as it was when it ran.")
@click.argument("revisions", nargs=-1)
@person_options
@remote_option
@json_option
def resolve(
    merge: bool, reparent: bool, restore: bool, remote: bool, as_json: bool, **parameters: Any
) -> None:
    """Resolve a conflict of the revision files: two heads, a late revision, a lost file."""
    chosen = {"merge": merge, "reparent": reparent, "restore": restore}
    parameters["how"] = _one_of(chosen, "--merge, --reparent or --restore")
    act("flows.environments:resolve_conflicts", parameters, remote=remote, as_json=as_json)


@migrate.command()
@environment_option
@click.option("--adopt", is_flag=True, help="Write it down as a revision.")
@click.option("--revert", is_flag=True, help="Take it back.")
@click.option("--accept", is_flag=True, help="Keep it as it is, and do not report it again.")
@click.option("--actor", help="Who does this; needed to adopt, revert or accept.")
@click.option("--reason", help="Why; needed to adopt, revert or accept.")
@remote_option
@json_option
def drift(
    environment: str,
    adopt: bool,
    revert: bool,
    accept: bool,
    actor: str | None,
    reason: str | None,
    remote: bool,
    as_json: bool,
) -> None:
    """Compare the schema with what its own revisions made of it (exit 3 if it differs)."""
    chosen = {"adopt": adopt, "revert": revert, "accept": accept}
    if not any(chosen.values()):
        asked = {"environments": [environment]}
        act("flows.environments:check_schema", asked, remote=remote, as_json=as_json)
        return
    if not (actor and reason):
        raise click.UsageError("to adopt, revert or accept drift, give --actor and --reason")
    parameters = {
        "environment": environment,
        "how": _one_of(chosen, "--adopt, --revert or --accept"),
        "actor": actor,
        "reason": reason,
    }
    act("flows.environments:resolve_conflicts", parameters, remote=remote, as_json=as_json)


@migrate.command()
@click.option("--from", "source", help="Environment to follow; by default the first in order.")
@click.option("--to", "targets", multiple=True, help="Environments to bring there; all by default.")
@preparing_options
@person_options
@remote_option
@json_option
def sync(remote: bool, as_json: bool, **parameters: Any) -> None:
    """Bring environments to the source's revision, each after the one before it."""
    act(
        "flows.environments:sync_environments",
        parameters,
        remote=remote,
        as_json=as_json,
        in_full=True,
    )
