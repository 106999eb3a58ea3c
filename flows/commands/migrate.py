"""`headway migrate …`: the schema."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table

environment_option = click.option(
    "--env", "environment", default="local", show_default=True, help="Environment to work on."
)


@click.group()
def migrate() -> None:
    """Migrate the schema: status, plan, apply, roll back."""


@migrate.command()
@json_option
def status(as_json: bool) -> None:
    """Show each environment: revision, pending revisions, drift, last run."""
    from tasks.migrations.status import migration_status

    environments = migration_status()
    rows = [
        [e.environment, e.current_revision, e.head, len(e.pending), e.state, e.last_run]
        for e in environments
    ]
    headers = ["environment", "revision", "scripts", "pending", "state", "last run"]
    problems = [f"{e.environment}: {e.problem}" for e in environments if e.problem]
    emit(environments, as_json, "\n".join([table(headers, rows), *problems]))


@migrate.command()
@environment_option
@click.option("--target", default="head", show_default=True, help="Revision to migrate to.")
@json_option
def plan(environment: str, target: str, as_json: bool) -> None:
    """Show what `apply` would do, or why it would be refused (exit 3). Changes nothing."""
    from tasks.errors import Refused
    from tasks.migrations.evidence import gather
    from tasks.migrations.plan import REFUSED, judge_plan

    verdict = judge_plan(gather(environment).model_copy(update={"target": target}))
    if verdict.verdict == REFUSED:
        raise Refused(f"upgrade of {environment}", verdict.reasons)
    revisions = verdict.details.get("revisions", ())
    rows = [[each["revision"], each["title"], each["file"]] for each in revisions]
    text = table(["revision", "title", "file"], rows) if rows else "nothing to do"
    emit(verdict, as_json, text)


@migrate.command()
@environment_option
@click.option("--target", default="head", show_default=True, help="Revision to migrate to.")
@person_options
@remote_option
@json_option
def apply(
    environment: str, target: str, actor: str, reason: str, remote: bool, as_json: bool
) -> None:
    """Apply pending revisions, one retryable step each, then validate."""
    parameters = {"environment": environment, "target": target, "actor": actor, "reason": reason}
    act("flows.migrate:apply_migrations", parameters, remote=remote, as_json=as_json)


@migrate.command("roll-back")
@click.argument("steps", type=click.IntRange(min=1), default=1)
@environment_option
@click.option("--allow-data-loss", is_flag=True, help="Drop rows that the downgrade would lose.")
@click.option("--confirm", help="The environment's name again, where it is protected.")
@person_options
@remote_option
@json_option
def roll_back(
    steps: int,
    environment: str,
    allow_data_loss: bool,
    confirm: str | None,
    actor: str,
    reason: str,
    remote: bool,
    as_json: bool,
) -> None:
    """Roll back the last STEPS revisions (1 by default)."""
    parameters = {
        "steps": steps,
        "environment": environment,
        "allow_data_loss": allow_data_loss,
        "confirm": confirm,
        "actor": actor,
        "reason": reason,
    }
    act("flows.migrate:roll_back_migrations", parameters, remote=remote, as_json=as_json)
