"""`headway alert …`: what needs a person's eye."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, person_options, remote_option, table

alert_argument = click.argument("alert", metavar="NUMBER", type=click.IntRange(min=1))


@click.group()
def alert() -> None:
    """See what needs a person's eye, and say what is done about it."""


@alert.command("list")
@click.option("--all", "has_resolved", is_flag=True, help="Those that are resolved, too.")
@click.option("--subject", help="Only this one's, such as rollout:7.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def list_alerts(as_json: bool, has_resolved: bool, subject: str | None, limit: int) -> None:
    """List the alerts that are open or acknowledged, the gravest first."""
    from tasks.alerts.reading import alerts
    from tasks.database import control_engine

    with control_engine().connect() as connection:
        found = alerts(connection, subject=subject, has_resolved=has_resolved, limit=limit)
    rows = [
        [
            a.id,
            a.severity,
            a.state,
            a.subject,
            a.metric,
            a.title,
            f"{a.opened_at:%F %R}",
            f"{a.occurrences}×",
        ]
        for a in found
    ]
    headers = ["alert", "severity", "state", "about", "metric", "what", "since", "seen"]
    emit(found, as_json, table(headers, rows) if rows else "no alerts")


@alert.command()
@alert_argument
@json_option
def show(alert: int, as_json: bool) -> None:
    """Show what was done about the alert NUMBER, and by whom."""
    from tasks.alerts.reading import history
    from tasks.database import control_engine

    with control_engine().connect() as connection:
        found = history(connection, alert)
    rows = [[f"{c.changed_at:%F %T}", c.new_state, c.actor, c.note] for c in found]
    emit(found, as_json, table(["when", "state", "by", "note"], rows))


@alert.command()
@alert_argument
@person_options
@remote_option
@json_option
def acknowledge(remote: bool, as_json: bool, **given: str | int) -> None:
    """Say that somebody looks after the alert NUMBER."""
    act("flows.alerts:acknowledge_alert", given, remote=remote, as_json=as_json)


@alert.command()
@alert_argument
@person_options
@remote_option
@json_option
def resolve(remote: bool, as_json: bool, **given: str | int) -> None:
    """Say that the alert NUMBER is over."""
    act("flows.alerts:resolve_alert", given, remote=remote, as_json=as_json)
