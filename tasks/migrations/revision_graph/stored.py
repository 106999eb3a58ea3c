"""The history's copies of revision files: to go by where the files are gone, or to restore."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from tasks.errors import NotFound
from tasks.migrations import environments
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import records
from tasks.migrations.revision_graph.reading import find_file

_SLUG_LENGTH = 40


@contextmanager
def project_with_stored(
    connection: Connection, project: Project, revisions: Iterable[str]
) -> Iterator[Project]:
    """The project together with stored copies of these revisions, in a folder that is then gone.

    Raises:
        NotFound: the history has no copy of one of them.
    """
    wanted = tuple(revisions)
    if not wanted:
        yield project
        return
    sources = _sources(connection, wanted)
    with tempfile.TemporaryDirectory(prefix="headway-stored-") as folder:
        for revision, source in sources.items():
            (Path(folder) / _file_name(revision, source)).write_text(source, "utf-8")
        yield project.with_versions(Path(folder))


@contextmanager
def used(environment: str, revisions: Iterable[str]) -> Iterator[None]:
    """Until the end, the environment's project has stored copies of these revisions too."""
    target, wanted = environments.find(environment), tuple(revisions)
    if not wanted:
        yield
        return
    with (
        environments.engine(target.url).connect() as connection,
        project_with_stored(connection, target.project, wanted) as project,
    ):
        connection.rollback()
        with environments.other_project(environment, project):
            yield


def restore(connection: Connection, project: Project, revision: str) -> Path:
    """Write a revision's file as it was when it was applied; returns it.

    Over the file that defines the revision now, or as a new one among the others.

    Raises:
        NotFound: the history has no copy of it.
    """
    source = _sources(connection, [revision])[revision]
    try:
        path = find_file(project, revision)
    except LookupError:
        path = project.version_locations[0] / _file_name(revision, source)
    path.write_text(source, "utf-8")
    return path


def _sources(connection: Connection, revisions: Iterable[str]) -> dict[str, str]:
    wanted = tuple(revisions)
    found = records.read_contents(connection, wanted)
    for revision in wanted:
        if revision not in found:
            raise NotFound(f"the history has no copy of revision {revision!r}")
    return {revision: found[revision].source for revision in wanted}


def _file_name(revision: str, source: str) -> str:
    title = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].lower()
    slug = re.sub(r"[^a-z0-9]+", "_", title)[:_SLUG_LENGTH].strip("_")
    return f"{revision}_{slug}.py" if slug else f"{revision}.py"
