"""The databases that Headway migrates: declared in `headway.toml`, or only `local`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tasks import database
from tasks.errors import ConfigurationError, NotFound
from tasks.migrations import project
from tasks.migrations.project import Project
from tasks.settings import Environment, load_settings

LOCAL = "local"
_NONE: Mapping[str, Project] = {}
_other_projects: ContextVar[Mapping[str, Project]] = ContextVar("headway_projects", default=_NONE)


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """How a migration of an environment is tried out on a copy of it.

    ``url`` is that of another server (None: the environment's own). ``masks`` name columns
    (`table.column`) that the copy may not show.
    """

    url: str | None = field(default=None, repr=False)
    data: Literal["full", "sample", "none"] = "full"
    sample_rows: int = 10_000
    masks: Mapping[str, Literal["hash", "null"]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One environment, and where its database is (the URL holds a password: never show it)."""

    name: str
    url: str = field(repr=False)
    project: Project
    order: int = 0
    is_protected: bool = False
    forbid_reset: bool = False
    max_lock_seconds: float | None = None
    rehearsal: RehearsalOptions = field(default_factory=RehearsalOptions)


def names() -> tuple[str, ...]:
    """Names of the environments in the order in which changes pass through them."""
    declared = load_settings().environments
    if not declared:
        return (LOCAL,)
    return tuple(sorted(declared, key=lambda name: (declared[name].order, name)))


def find(name: str) -> Target:
    """The environment of this name; NotFound lists the known ones.

    `local` is the control database with Headway's own revisions, unless it is declared otherwise
    or the declared environments are Headway's own too.
    """
    other = _other_projects.get().get(name)
    found = _find(name)
    return found if other is None else replace(found, project=other)


@contextmanager
def other_project(name: str, other: Project) -> Iterator[None]:
    """Until the end, go by another project for this environment."""
    token = _other_projects.set({**_other_projects.get(), name: other})
    try:
        yield
    finally:
        _other_projects.reset(token)


def _find(name: str) -> Target:
    declared = load_settings().environments
    if name in declared:
        return _declared(name, declared[name])
    if name == LOCAL and (not declared or load_settings().migrations.script_location):
        # The engine puts schema `headway` in place with the settings of the control database.
        url = database.control_engine().url.render_as_string(hide_password=False)
        return Target(LOCAL, url, project.own())
    raise NotFound(f"there is no environment {name!r}; known: {', '.join(names())}")


def _declared(name: str, found: Environment) -> Target:
    return Target(
        name=name,
        url=found.database_url(),
        project=project.configured(),
        order=found.order,
        is_protected=found.is_protected,
        forbid_reset=found.is_protected if found.forbid_reset is None else found.forbid_reset,
        max_lock_seconds=found.max_lock_seconds,
        rehearsal=RehearsalOptions(
            url=found.rehearsal_server_url(),
            data=found.rehearsal_data,
            sample_rows=found.sample_rows,
            masks=found.mask,
        ),
    )


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


def order(name: str) -> int:
    """The place of an environment on the way of a change; `local`, undeclared, has the first."""
    declared = load_settings().environments
    return declared[name].order if name in declared else 0


def predecessors(name: str) -> tuple[str, ...]:
    """The environments that a change passes just before this one; none before the first."""
    earlier = [each for each in names() if order(each) < order(name)]
    return tuple(each for each in earlier if order(each) == order(earlier[-1]))


def later_than(name: str) -> tuple[str, ...]:
    """The environments that a change reaches after this one, in their order."""
    return tuple(each for each in names() if order(each) > order(name))


def engine(
    url: str, application_name: str = "headway-migrate", *, connect_timeout_seconds: int = 10
) -> sa.Engine:
    """An engine without a pool: a migration's session, its settings and locks end together."""
    made = _engine(database.psycopg_url(url), application_name, connect_timeout_seconds)
    return made.execution_options()  # listeners of one caller's are no other's


# What a new engine asks its server first, and compiles anew, costs as much as a small revision.
@lru_cache(maxsize=32)
def _engine(url: sa.URL, application_name: str, connect_timeout_seconds: int) -> sa.Engine:
    options = {"application_name": application_name, "connect_timeout": connect_timeout_seconds}
    return sa.create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args=options,
    )
