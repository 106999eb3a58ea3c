"""How Alembic runs here, from its command line and from Headway's flows alike.

- The database: a connection given by the caller, else `-x environment=NAME`, else DATABASE_URL,
  else HEADWAY_DATABASE_URL, else the embedded control database.
- One transaction per revision, in which the row of `headway.migration_run` is written too.
- One migrating session per database (an advisory lock), and `lock_timeout`, so that a migration
  never makes an application queue for long behind it.
- A new revision gets the next number as its id; `alembic revision` needs a database only to
  compare it (`--autogenerate`).
- Logging is left alone unless Alembic's own command line runs: `fileConfig` would silence
  Prefect's loggers.

`-x actor=NAME -x reason=TEXT` are recorded; the actor is by default the user of the system.
"""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from alembic import command, context
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.util import CommandError
from sqlalchemy import Connection

from tasks import database
from tasks.bootstrap import bootstrap
from tasks.errors import HeadwayError
from tasks.migrations import environments
from tasks.migrations.applying import invalid_indexes, session
from tasks.migrations.revision_graph import content, history
from tasks.migrations.validation import alembic_config
from tasks.settings import load_settings


def run() -> None:
    """Run whatever command was asked for, on the database that was named."""
    given = context.config.attributes.get("connection")
    if only_writes_a_file():
        run_migrations(history.Occasion(environments.LOCAL), dialect_name="postgresql", as_sql=True)
        return
    if context.config.cmd_opts is not None:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    if context.is_offline_mode():
        run_offline()
    elif given is not None:
        run_on(given, history.Occasion(environments.LOCAL))
    else:
        environment, url = named_database()
        with environments.engine(url, "headway-alembic").connect() as connection:
            run_on(connection, occasion_of_command_line(environment))


def run_on(connection: Connection, occasion: history.Occasion) -> None:
    """Run on this connection: in its transaction if it is in one, else in one per revision."""
    settings = load_settings()
    is_callers = connection.in_transaction()
    bootstrap(connection)
    if not is_callers:
        connection.commit()
    with session.migrating(
        connection,
        lock_timeout_seconds=settings.lock_timeout_seconds,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        wait_seconds=settings.migration_wait_seconds,
    ):
        run_migrations(occasion, connection=connection)


def run_offline() -> None:
    """Print the SQL (`--sql`): it needs schema `headway` in place, and takes the same lock."""
    context.config.print_stdout("-- Schema headway must be there: `alembic current` makes it.")
    for statement in session.statements(load_settings().lock_timeout_seconds):
        context.config.print_stdout("%s;", statement)
    occasion = occasion_of_command_line(environments.LOCAL)
    run_migrations(
        occasion,
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # another would double every percent sign
        literal_binds=True,
    )


def run_migrations(occasion: history.Occasion, **where: Any) -> None:
    """Configure Alembic and let it run."""
    contents = read_contents()

    def on_version_apply(
        ctx: MigrationContext,
        step: MigrationInfo,
        heads: Collection[Any],  # noqa: ARG001 - Alembic passes it by name
        run_args: Mapping[str, Any],  # noqa: ARG001 - Alembic passes it by name
    ) -> None:
        history.record(ctx, step, occasion, contents)
        invalid_indexes.require_valid(ctx, step)

    context.configure(
        transaction_per_migration=True,
        on_version_apply=on_version_apply,
        process_revision_directives=number_revisions,
        **alembic_config.comparison_options(),
        **where,
    )
    with context.begin_transaction():
        context.run_migrations()


def read_contents() -> dict[str, content.Content]:
    """What every revision says; before any runs, because Alembic's `op` serves one at a time."""
    try:
        scripts = list(context.script.walk_revisions())
    except (CommandError, KeyError):  # a broken graph: the command says so itself
        return {}
    return {script.revision: content.content_of(script) for script in scripts}


def only_writes_a_file() -> bool:
    """Is this `alembic merge`, or `alembic revision` without a comparison?"""
    asked = context.config.cmd_opts
    if asked is None:
        return False
    is_revision = asked.cmd[0] is command.revision and not asked.autogenerate
    return is_revision or asked.cmd[0] is command.merge


def number_revisions(
    ctx: MigrationContext,
    _parents: object,
    made: Iterable[MigrationScript],
) -> None:
    """Give a new revision the number after the highest, unless `--rev-id` gave it another id."""
    if ctx.opts["revision_context"].command_args["rev_id"]:
        return
    known = (script.revision for script in context.script.walk_revisions())
    numbers = (int(revision) for revision in known if revision.isdecimal())
    for number, script in enumerate(made, max(numbers, default=0) + 1):
        script.rev_id = f"{number:03d}"


def named_database() -> tuple[str, str]:
    """Name and URL of the database that the command line or the environment names."""
    asked = context.get_x_argument(as_dictionary=True).get("environment")
    if asked:
        return asked, environments.find(asked).url
    url = os.environ.get("DATABASE_URL")
    if not url:
        url = database.control_engine().url.render_as_string(hide_password=False)
    return environments.name_of(url), url


def occasion_of_command_line(environment: str) -> history.Occasion:
    """Who runs `alembic`, and why, as far as they say."""
    arguments = context.get_x_argument(as_dictionary=True)
    return history.Occasion(
        environment=environment,
        actor=arguments.get("actor") or getpass.getuser(),
        reason=arguments.get("reason"),
    )


try:
    run()
except HeadwayError as error:
    if context.config.cmd_opts is None:
        raise
    raise CommandError(str(error)) from error  # a message, not a traceback
