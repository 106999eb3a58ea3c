"""What the revision files say of themselves, read without running them.

Alembic's own map of revisions cannot be built from a broken graph (it raises, or keeps one of two
files with the same id), and a plan must name exactly the files that break it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tasks.migrations import content
from tasks.migrations.project import Project
from tasks.migrations.script import Script, UnreadableScript


def read_scripts(project: Project) -> tuple[tuple[Script, ...], tuple[UnreadableScript, ...]]:
    """The revision files of a project, and what is unreadable among them."""
    read = [item for folder in project.version_locations for item in _read_all(folder)]
    return (
        tuple(item for item in read if isinstance(item, Script)),
        tuple(item for item in read if isinstance(item, UnreadableScript)),
    )


def _read_all(folder: Path) -> Iterator[Script | UnreadableScript]:
    for path in sorted(folder.glob("*.py")):
        if path.name == "__init__.py":
            continue
        try:
            yield _read(path)
        except (SyntaxError, ValueError) as error:
            yield UnreadableScript(file=path.name, problem=f"{type(error).__name__}: {error}")


def _read(path: Path) -> Script:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    constants = dict(_constants(tree))
    return Script(
        revision=_revision(constants.get("revision")),
        down_revisions=_tuple(constants.get("down_revision")),
        depends_on=_tuple(constants.get("depends_on")),
        title=(ast.get_docstring(tree) or "").partition("\n")[0].rstrip("."),
        file=path.name,
        checksum=content.checksum(source),
        script_checksum=content.script_checksum(tree),
        lossy=_reason(constants.get("lossy")),
        irreversible=_reason(constants.get("irreversible")),
    )


def _reason(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no reason: `lossy` and `irreversible` say why, in words")


def _revision(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("it has no literal `revision`")


def _constants(tree: ast.Module) -> Iterator[tuple[str, object]]:
    wanted = {"revision", "down_revision", "depends_on", "lossy", "irreversible"}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in wanted:
                yield target.id, ast.literal_eval(value)


def _tuple(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(str(item) for item in value)
    raise ValueError(f"{value!r} names no revision")
