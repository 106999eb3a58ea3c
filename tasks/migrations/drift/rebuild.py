"""Find out what revisions make of an empty database, by running them on a scratch one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.bootstrap import bootstrap
from tasks.errors import HeadwayError
from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.drift.running import said
from tasks.migrations.environments import Target
from tasks.migrations.fingerprint import compare, take
from tasks.migrations.fingerprint.model import Attributes, Fingerprint
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.revision_graph.script import Script
from tasks.migrations.scratch import scratch_database


class CannotRebuild(HeadwayError):
    """The schema at some heads cannot be made anew; the message says why."""


def rebuild(target: Target, heads: Sequence[str]) -> Fingerprint:
    """The fingerprint of an empty database on the target's server after the revisions up to here.

    Raises:
        CannotRebuild: a head is unknown, the graph is broken, or a revision does not run there.
    """
    with rebuilt(target, heads) as connection:
        return fingerprint(connection, target.project)


@contextmanager
def rebuilt(target: Target, heads: Sequence[str]) -> Iterator[Connection]:
    """A connection to a scratch database with the schema of these heads.

    Raises:
        CannotRebuild: see `rebuild`.
    """
    scripts = _path(target.project, heads)
    with _empty(target) as connection:
        for script in scripts:
            _apply(connection, target.project, script)
        yield connection


def stands_at(target: Target, heads: Sequence[str], actual: Fingerprint) -> tuple[str, ...] | None:
    """The heads below these at which revisions make just this schema; () is base, None is none."""
    scripts = _path(target.project, heads)
    with _empty(target) as connection:
        reached: list[str] = []
        for script in scripts:
            if not _differ(fingerprint(connection, target.project), actual):
                return _heads(scripts, reached)
            _apply(connection, target.project, script)
            reached.append(script.revision)
    return None


def fingerprint(connection: Connection, project: Project) -> Fingerprint:
    """The fingerprint of what the project describes in this database."""
    version_table = (project.version_table_schema, project.version_table)
    return take(
        connection, schemas=project.schemas, ignore=project.ignore, version_table=version_table
    )


def as_if_here(rebuilt_there: Fingerprint, actual: Fingerprint) -> Fingerprint:
    """A rebuilt fingerprint as the actual database would have it.

    Whoever ran the revisions owns what they made: elsewhere that is another role. So the role that
    owns most there counts as the one that owns most here; and schema `public`, which no revision
    made, as what it is here.
    """
    there, here = _main_owner(rebuilt_there), _main_owner(actual)
    objects = {
        key: {**found, "owner": here} if here and found.get("owner") == there else found
        for key, found in rebuilt_there.objects.items()
    }
    if "schema public" in objects and "schema public" in actual.objects:
        objects["schema public"] = actual.objects["schema public"]
    return Fingerprint(server_major=rebuilt_there.server_major, objects=objects)


def _path(project: Project, heads: Sequence[str]) -> tuple[Script, ...]:
    scripts, unreadable = read_scripts(project)
    problems = [*(item.file for item in unreadable), *(r.message for r in graph.faults(scripts))]
    if problems:
        raise CannotRebuild(f"the revisions cannot be read in order: {'; '.join(problems)}")
    unknown = set(heads) - {script.revision for script in scripts}
    if unknown:
        raise CannotRebuild(f"no file defines revision {', '.join(sorted(unknown))}")
    return graph.upward(scripts, graph.with_ancestors(scripts, heads))


@contextmanager
def _empty(target: Target) -> Iterator[Connection]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(scratch_database(target.rehearsal.url or target.url))
            engine = environments.engine(url, "headway-drift")
            connection = stack.enter_context(engine.connect())
            with connection.begin():
                bootstrap(connection)
        except DBAPIError as error:
            raise CannotRebuild(f"there is no scratch database: {said(error)}") from error
        except HeadwayError as error:
            raise CannotRebuild(f"there is no scratch database: {error}") from error
        yield connection


def _apply(connection: Connection, project: Project, script: Script) -> None:
    try:
        connection.rollback()
        runner.move(connection, project, script.revision, "upgrade")
        connection.rollback()
    except DBAPIError as error:
        raise CannotRebuild(
            f"revision {script.revision} does not run on an empty database: {said(error)}"
        ) from error
    except Exception as error:  # whatever the revision's own code raises
        raise CannotRebuild(f"revision {script.revision} does not run: {error}") from error


def _differ(expected: Fingerprint, actual: Fingerprint) -> bool:
    differences = compare(as_if_here(expected, actual), actual)
    return any(not each.is_information for each in differences)


def _heads(scripts: Sequence[Script], reached: Sequence[str]) -> tuple[str, ...]:
    done = [script for script in scripts if script.revision in reached]
    return tuple(script.revision for script in graph.heads(done))


def _main_owner(fingerprint: Fingerprint) -> str | None:
    owners = Counter(
        _owner(found) for key, found in fingerprint.objects.items() if key != "schema public"
    )
    owners.pop("", None)
    return owners.most_common(1)[0][0] if owners else None


def _owner(found: Attributes) -> str:
    return str(found.get("owner") or "")
