"""Alembic's view of a project's revisions: read once, and again when a file has changed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from alembic.script import ScriptDirectory

from tasks.migrations.project import Project

State = tuple[tuple[Path, int, int], ...]


def script_directory(project: Project) -> ScriptDirectory:
    """The revisions of a project; whoever gets it must not change it."""
    files = [path for folder in project.version_locations for path in folder.glob("*.py")]
    found = ((path, path.stat()) for path in sorted(files))
    return _read(project, tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in found))


@lru_cache(maxsize=8)
def _read(project: Project, _files: State) -> ScriptDirectory:
    return ScriptDirectory.from_config(project.alembic_config())
