"""`headway up`, `psql`, `database-url`: the local stack."""

from __future__ import annotations

import os
import subprocess

import click


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Prefect server.")
def up(port: int | None) -> None:
    """Run Postgres, Prefect server, worker and all deployments until Ctrl-C."""
    from flows.stack import up as run_stack

    run_stack(port=port)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the control database; arguments are psql's own (`-c '\\dt ab_*'`)."""
    from tasks.database import control_url, embedded_server, psycopg_url
    from tasks.settings import load_settings

    url = psycopg_url(control_url())
    password = url.password or url.query.get("password")
    program = str(embedded_server().binary("psql")) if load_settings().is_embedded else "psql"
    # The password goes by the environment: a command line can be read by every user.
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    public = url.set(drivername="postgresql", password=None).difference_update_query(["password"])
    shown = public.render_as_string(hide_password=False)
    finished = subprocess.run([program, *arguments, shown], env=environment, check=False)
    raise SystemExit(finished.returncode)


@click.command("database-url")
def database_url() -> None:
    """Print the control database's URL, with its password, for other programs.

    An embedded Postgres runs only while something uses it, such as `headway up`.
    """
    from tasks.database import control_url, embedded_server
    from tasks.settings import load_settings

    url = embedded_server().tcp_url() if load_settings().embedded_tcp else control_url()
    click.echo(url.replace("postgresql+psycopg://", "postgresql://", 1))
