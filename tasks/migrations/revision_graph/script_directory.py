"""Alembic's view of a project's revisions: read once, and again when a file has changed."""

from __future__ import annotations

from functools import lru_cache

from alembic.script import ScriptDirectory

from tasks.migrations.project import Project
from tasks.migrations.revision_graph import reading as revisions
from tasks.migrations.revision_graph.reading import State


def script_directory(project: Project) -> ScriptDirectory:
    """The revisions of a project; whoever gets it must not change it."""
    return _read(project, revisions.state(project))


@lru_cache(maxsize=8)
def _read(project: Project, _files: State) -> ScriptDirectory:
    return ScriptDirectory.from_config(project.alembic_config())
