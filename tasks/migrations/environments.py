"""The databases that Headway migrates: declared in `headway.toml`, or only `local`."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tasks import database
from tasks.errors import ConfigurationError, NotFound
from tasks.settings import load_settings

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Target:
    """One environment, and where its database is (the URL holds a password: never show it)."""

    name: str
    order: int
    is_protected: bool
    url: str = field(repr=False)


def names() -> tuple[str, ...]:
    """Names of the environments in the order in which changes pass through them."""
    declared = load_settings().environments
    if not declared:
        return (LOCAL,)
    return tuple(sorted(declared, key=lambda name: (declared[name].order, name)))


def find(name: str) -> Target:
    """The environment of this name; NotFound lists the known ones."""
    declared = load_settings().environments
    if name in declared:
        found = declared[name]
        return Target(name, found.order, found.is_protected, found.database_url())
    if name == LOCAL and not declared:
        # The engine puts schema `headway` in place with the settings of the control database.
        url = database.control_engine().url.render_as_string(hide_password=False)
        return Target(LOCAL, 0, False, url)
    raise NotFound(f"there is no environment {name!r}; known: {', '.join(names())}")


def name_of(url: str) -> str:
    """The declared environment with this database, else `local`."""
    wanted = database.psycopg_url(url)
    for name, declared in load_settings().environments.items():
        try:
            if database.psycopg_url(declared.database_url()) == wanted:
                return name
        except ConfigurationError:
            continue
    return LOCAL


def engine(url: str, application_name: str = "headway-migrate") -> sa.Engine:
    """An engine without a pool: a migration's session, its settings and locks end together."""
    return sa.create_engine(
        database.psycopg_url(url),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"application_name": application_name, "connect_timeout": 10},
    )
