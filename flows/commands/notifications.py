"""`headway notifications …`: what people are told."""

from __future__ import annotations

import click

from flows.commands.output import act, emit, json_option, remote_option, table


@click.group()
def notifications() -> None:
    """See what people were told, and send what waits."""


@notifications.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def list_notifications(limit: int, as_json: bool) -> None:
    """List the newest messages, sent or not."""
    from tasks.database import control_engine
    from tasks.notifications.outbox import recent

    with control_engine().connect() as connection:
        found = recent(connection, limit)
    rows = [
        [f"{m.created_at:%F %T}", m.channel, m.kind, m.subject, m.attempts, m.state] for m in found
    ]
    emit(found, as_json, table(["when", "channel", "kind", "about", "tries", "state"], rows))


@notifications.command()
@remote_option
@json_option
def send(remote: bool, as_json: bool) -> None:
    """Send what waits in the outbox."""
    act("flows.notify:send_notifications", {}, remote=remote, as_json=as_json)
