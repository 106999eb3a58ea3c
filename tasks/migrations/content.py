"""What a revision says, whatever its layout: the code without its formatting, and its SQL."""

from __future__ import annotations

import ast
import hashlib
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import alembic
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script as AlembicScript
from alembic.script import ScriptDirectory

from tasks.migrations.project import Project

# Where a revision stands in the graph is not its content, nor is what it says about itself.
_PLACE = {"revision", "down_revision", "branch_labels", "depends_on", "lossy", "irreversible"}
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
    """The content of one revision of a project whose graph can be read.

    Raises:
        LookupError: no file defines the revision.
    """
    script = ScriptDirectory.from_config(project.alembic_config()).get_revision(revision)
    if script is None:
        raise LookupError(revision)
    return content_of(script)


def content_of(script: AlembicScript) -> Content:
    """The content of a revision that Alembic has found."""
    source = Path(script.path).read_text("utf-8")
    return Content(
        source=source,
        checksum=checksum(source),
        script_checksum=script_checksum(ast.parse(source)),
        upgrade_sql=_render(script, "upgrade"),
        downgrade_sql=_render(script, "downgrade"),
    )


def checksum(text: str) -> str:
    """sha256 as hex; line ends do not count (a checkout may change them)."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def script_checksum(tree: ast.Module) -> str:
    """sha256 of the code: without comments, docstrings, layout, and its place in the graph."""
    body = [node for node in tree.body if not _is_place(node)]
    return checksum("\n".join(_written(ast.Module(body=body, type_ignores=[]))))


def _is_place(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return False
    return all(isinstance(target, ast.Name) and target.id in _PLACE for target in targets)


def _written(node: object, depth: int = 0) -> Iterator[str]:
    # Not ast.dump: its form differs from one version of Python to the next.
    if isinstance(node, ast.AST):
        yield f"{depth} {type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value not in (None, []) and name not in {"kind", "type_comment"}:
                yield f"{depth} .{name}"
                yield from _written(_without_docstring(node, name, value), depth + 1)
    elif isinstance(node, list):
        for item in node:
            yield from _written(item, depth + 1)
    else:
        yield f"{depth} {node!r}"


def _without_docstring(node: ast.AST, name: str, value: object) -> object:
    holds = isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    if holds and name == "body" and isinstance(value, list) and ast.get_docstring(node) is not None:  # type: ignore[arg-type]
        return value[1:]
    return value


def _render(script: AlembicScript, direction: str) -> str | None:
    try:
        with ONE_AT_A_TIME:
            first, second = (_render_once(script, direction) for _ in range(2))
    except Exception:  # the revision's own code: whatever it raises, it cannot be written down
        return None
    return first if first == second else None


def _render_once(script: AlembicScript, direction: str) -> str:
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
        getattr(script.module, direction)()
    return written.getvalue()
