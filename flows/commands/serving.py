"""`headway serve` and `headway key …`: what applications ask, and by which keys."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click

from flows.commands.output import emit, json_option, table

if TYPE_CHECKING:
    from tasks.serving.keys import Scope

_SCOPES = ("evaluate", "track", "read")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8642, show_default=True)
@click.option(
    "--without-keys", is_flag=True, help="Ask nobody for a key; on a loopback address only."
)
def serve(host: str, port: int, without_keys: bool) -> None:
    """Answer applications over HTTP: flags (OFREP), events, health samples, /health, /metrics."""
    from tasks.rollouts.health.possible import impossible
    from tasks.serving.server import serve as run_server

    run_server(host, port, is_open=without_keys, judge=impossible)


@click.group()
def key() -> None:
    """Make, list and revoke the API keys of `headway serve`."""


@key.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(_SCOPES), multiple=True, required=True)
@click.option("--organization", help="It sees what belongs to this one or to none; unset = all.")
@click.option("--requests-per-minute", type=click.IntRange(1, 2**31 - 1), help="Unset = no limit.")
@click.option("--days", type=click.IntRange(1, 36500), help="It expires then; unset = never.")
@click.option("--actor", help="Who makes it; unset = your user name.")
@json_option
def create(
    name: str,
    scopes: tuple[Scope, ...],
    organization: str | None,
    requests_per_minute: int | None,
    days: int | None,
    actor: str | None,
    as_json: bool,
) -> None:
    """Make the key NAME and print it, this once."""
    from tasks.database import control_engine
    from tasks.serving.keys import create_key

    with control_engine().begin() as tx:
        made = create_key(
            tx,
            name,
            scopes,
            actor or getpass.getuser(),
            organization=organization,
            requests_per_minute=requests_per_minute,
            days=days,
        )
    emit(made, as_json, f"{made.key}\nKeep it now: only its hash is stored.")


@key.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the keys by name and first characters."""
    from tasks.database import control_engine
    from tasks.serving.keys import list_keys

    with control_engine().connect() as connection:
        found = list_keys(connection)
    rows = [
        [
            k.name,
            f"{k.key_prefix}…",
            ", ".join(k.scopes),
            k.organization,
            k.requests_per_minute,
            "valid" if k.is_valid else "revoked" if k.revoked_at else "expired",
            k.created_by,
        ]
        for k in found
    ]
    headers = ["name", "key", "scopes", "organization", "a minute", "state", "made by"]
    emit(found, as_json, table(headers, rows))


@key.command()
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """End the key NAME for good; servers know within five seconds."""
    from tasks.database import control_engine
    from tasks.serving.keys import revoke_key

    with control_engine().begin() as tx:
        revoke_key(tx, name)
    emit({"name": name, "is_revoked": True}, as_json, f"{name} is revoked")
