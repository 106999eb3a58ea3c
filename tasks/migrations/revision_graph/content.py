"""What a revision says, whatever its layout: the code without its formatting, and its SQL."""

from __future__ import annotations

import ast
import io
import threading
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import alembic
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script as AlembicScript

from tasks.migrations.project import Project
from tasks.migrations.revision_graph import reading as revisions
from tasks.migrations.revision_graph.checksums import checksum, script_checksum

# `alembic.op` is a global of the process: one revision at a time runs, or is written down.
ONE_AT_A_TIME = threading.RLock()
RENDERER = f"alembic {alembic.__version__}, sqlalchemy {sa.__version__}"


@dataclass(frozen=True, slots=True)
class Content:
    """A revision's file, and what it does.

    The SQL is None where it cannot be written down without a database (the revision reads rows,
    for one), or comes out differently each time. ``renderer`` names the libraries that wrote it.
    """

    source: str
    checksum: str
    script_checksum: str
    upgrade_sql: str | None
    downgrade_sql: str | None
    renderer: str = RENDERER

    @property
    def sql_checksum(self) -> str | None:
        """sha256 of the SQL both ways; None if either is not known."""
        if self.upgrade_sql is None or self.downgrade_sql is None:
            return None
        return checksum(f"{self.upgrade_sql}\n-- downgrade\n{self.downgrade_sql}")


def read_content(project: Project, revision: str) -> Content:
    """The content of one revision of a project, whatever the state of the others.

    Raises:
        LookupError: no file defines the revision.
    """
    return content_at(revisions.find_file(project, revision))


def content_of(script: AlembicScript) -> Content:
    """The content of a revision that Alembic has found."""
    return content_at(Path(script.path))


def content_at(path: Path) -> Content:
    """The content of the revision in this file."""
    source = revisions.read_source(path)
    return Content(
        source=source,
        checksum=checksum(source),
        script_checksum=script_checksum(ast.parse(source)),
        upgrade_sql=_render(source, path, "upgrade"),
        downgrade_sql=_render(source, path, "downgrade"),
    )


def _render(source: str, path: Path, direction: str) -> str | None:
    try:
        with ONE_AT_A_TIME:
            code = compile(source, str(path), "exec")
            first, second = (_render_once(_module(code, path), direction) for _ in range(2))
    except Exception:  # the revision's own code: whatever it raises, it cannot be written down
        return None
    return first if first == second else None


def _module(code: CodeType, path: Path) -> ModuleType:
    # Not by Python's import: it may take a compiled file that is older than the source.
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(code, module.__dict__)  # noqa: S102 - it is to be run
    return module


def _render_once(module: ModuleType, direction: str) -> str:
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # another would double every percent sign
        opts={
            "as_sql": True,
            "output_buffer": written,
            "literal_binds": True,
            "transaction_per_migration": True,
        },
    )
    with context.begin_transaction(_per_migration=True), Operations.context(context):
        getattr(module, direction)()
    return written.getvalue()
