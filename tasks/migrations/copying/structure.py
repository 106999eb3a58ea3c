"""The structure of a database as SQL, written by `pg_dump` from a snapshot that we hold."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from psycopg import pq
from sqlalchemy import Connection

from tasks.embedded.isolation import bundled_install
from tasks.errors import HeadwayError

_ENTRY = re.compile(r"^--\n-- Name: .*; Type: .*; Schema: .*; Owner: .*\n--\n", re.MULTILINE)
# A setting that servers before Postgres 17 do not know, and commands of psql.
_NEW_SETTING = re.compile(r"^SET transaction_timeout = 0;\n", re.MULTILINE)
_RESTRICT = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
_ENTRIES_AT_ONCE = 200  # each statement's locks are kept until its batch ends
_LOCK_WAIT_MS = 2000
_SECTIONS = ("pre-data", "post-data")


class CopyFailed(HeadwayError):
    """A database could not be copied; the message says which part of it, and why."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The SQL that makes everything before the rows are loaded, and what is made after that."""

    before_rows: str
    after_rows: str


def dump_structure(
    source: Connection, snapshot: str, *, with_owners: bool, excluded: Sequence[str]
) -> Structure:
    """The structure as the snapshot sees it; subscriptions are left out, they would connect.

    Raises:
        CopyFailed: `pg_dump` could not read it.
    """
    options = ["--no-subscriptions", "--snapshot", snapshot, "--lock-wait-timeout"]
    options += [str(_LOCK_WAIT_MS), *(f"--exclude-schema={_pattern(name)}" for name in excluded)]
    if not with_owners:
        options += ["--no-owner", "--no-privileges", "--no-publications"]
    started = [_start(source, [f"--section={name}", *options]) for name in _SECTIONS]
    before_rows, after_rows = [_finish(process) for process in started]
    return Structure(before_rows, after_rows)


def batches(script: str) -> Iterator[str]:
    """The script in parts that can each be sent at once; the first has the session's settings."""
    cleaned = _RESTRICT.sub("", _NEW_SETTING.sub("", script))
    starts = [found.start() for found in _ENTRY.finditer(cleaned)]
    cuts = [0, *starts[_ENTRIES_AT_ONCE::_ENTRIES_AT_ONCE], len(cleaned)]
    for begin, end in pairwise(cuts):
        yield cleaned[begin:end]


def _start(source: Connection, options: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(bundled_install() / "bin" / "pg_dump"), *options],
        env=_environment(source),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _finish(process: subprocess.Popen[str]) -> str:
    script, complaints = process.communicate()
    if process.returncode != 0:
        last = complaints.strip().splitlines()[-1:] or ["no reason given"]
        raise CopyFailed(f"the structure cannot be read: {last[0]}")
    return script


def _environment(source: Connection) -> dict[str, str]:
    """Where to connect, as libpq's variables: arguments would show the password to everybody."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    kept |= {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    arguments = source.dialect.create_connect_args(source.engine.url)[1]
    named = {variables[name]: str(value) for name, value in arguments.items() if name in variables}
    return {**kept, **named, "PGAPPNAME": "headway-copy", "PGCLIENTENCODING": "UTF8"}


def _pattern(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
