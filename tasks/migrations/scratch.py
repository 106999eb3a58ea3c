"""Scratch databases: made for one purpose, and gone afterwards, whatever happens to who made them.

Their maker stays connected to the server under the name of the database, so that a sweep can tell
one that is in use from one whose maker died. It is not connected to the database itself, which
could then not be cloned.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.database import load_queries, psycopg_url
from tasks.errors import Reason, Refused
from tasks.migrations import environments

QUERIES = load_queries(__package__, "scratch.sql")
PREFIX = "headway_scratch_"
_NO_RIGHT = "42501"
_PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}


@contextmanager
def scratch_database(server_url: str, *, template: str | None = None) -> Iterator[str]:
    """The URL of a fresh database on the server of this one; dropped at the end, also on an error.

    It has the encoding, locale and settings of the database in ``server_url``, and nothing in it,
    or all that is in the database ``template``, to which nobody may be connected. Only its owner
    and superusers may connect to it. What dead makers left on the server is swept first.

    Raises:
        Refused: `cannot-create-scratch`, the role may not create databases.
    """
    sweep(server_url)
    with ExitStack() as stack:
        holder = stack.enter_context(_connected(server_url))
        epoch = holder.scalar(QUERIES["server_epoch"])
        name = f"{PREFIX}{epoch}_{secrets.token_hex(4)}"
        holder.execute(QUERIES["hold_scratch"], {"name": name})
        _create(holder, name, template)
        stack.callback(_drop, server_url, name)
        yield psycopg_url(server_url).set(database=name).render_as_string(hide_password=False)


def sweep(server_url: str, *, older_than_seconds: float = 60) -> list[str]:
    """Drop the scratch databases that nobody holds or is connected to; the names of the dropped."""
    dropped = []
    with _connected(server_url) as connection:
        found = connection.scalars(QUERIES["abandoned"], {"age": older_than_seconds}).all()
        for name in found:
            try:
                _run(connection, f"DROP DATABASE IF EXISTS {_quoted(connection, name)}")
            except DBAPIError:  # somebody connected to it by now, or it is another role's
                continue
            dropped.append(name)
    return dropped


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = environments.engine(url, "headway-scratch")
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with closing(autocommit.connect()) as connection:
        connection.execute(QUERIES["wait_as_long_as_it_takes"])
        yield connection


def _create(holder: Connection, name: str, template: str | None) -> None:
    like = holder.execute(QUERIES["own_database"]).mappings().one()
    source = _quoted(holder, template or "template0")
    locale = "" if template else _locale(like["database"])
    quoted = _quoted(holder, name)
    try:
        _run(holder, f"CREATE DATABASE {quoted} TEMPLATE {source}{locale}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NO_RIGHT:
            raise
        raise Refused("the rehearsal", [_may_not(holder, template)]) from error
    _run(holder, f"REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC")
    for setting in like["settings"]:
        _run(holder, f"ALTER DATABASE {quoted} SET {setting}")


def _locale(database: dict[str, Any]) -> str:
    """The options that give a new database the locale of this row of `pg_database`."""
    provider = _PROVIDERS[database["datlocprovider"]]
    options = {
        "ENCODING": database["encoding_name"],
        "LOCALE_PROVIDER": provider,
        "LC_COLLATE": database["datcollate"],
        "LC_CTYPE": database["datctype"],
        "ICU_RULES": database.get("daticurules"),
    }
    if provider != "libc":  # Postgres 17 renamed the column
        locale = database.get("datlocale") or database.get("daticulocale")
        options[f"{provider.upper()}_LOCALE"] = locale
    return "".join(f" {name} {_literal(value)}" for name, value in options.items() if value)


def _may_not(holder: Connection, template: str | None) -> Reason:
    role = holder.scalar(QUERIES["own_role"])
    copied = f" or may not copy {template!r}" if template else ""
    return Reason(
        "cannot-create-scratch",
        f"role {role!r} may not create a scratch database on this server{copied}: let it "
        f"(ALTER ROLE {role} CREATEDB), or rehearse on another server of the same major version "
        "(rehearsal_url of the environment)",
    )


def _drop(server_url: str, name: str) -> None:
    with _connected(server_url) as connection:  # the holder's connection may be gone
        _run(connection, f"DROP DATABASE IF EXISTS {_quoted(connection, name)} WITH (FORCE)")


def _run(connection: Connection, statement: str) -> None:
    connection.execute(sa.text(statement.replace(":", r"\:")))


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
