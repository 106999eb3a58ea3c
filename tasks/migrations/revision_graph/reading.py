"""What the revision files say of themselves, read without running them.

Alembic's own map of revisions cannot be built from a broken graph (it raises, or keeps one of two
files with the same id), and a plan must name exactly the files that break it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from tasks.migrations.project import Project
from tasks.migrations.revision_graph import checksums
from tasks.migrations.revision_graph.script import Script, UnreadableScript

State = tuple[tuple[str, int, int], ...]


def read_scripts(project: Project) -> tuple[tuple[Script, ...], tuple[UnreadableScript, ...]]:
    """The revision files of a project, and what is unreadable among them."""
    read = [item for _, item in _files(project)]
    return (
        _with_labels_resolved([item for item in read if isinstance(item, Script)]),
        tuple(item for item in read if isinstance(item, UnreadableScript)),
    )


def find_file(project: Project, revision: str) -> Path:
    """The file that defines a revision.

    Raises:
        LookupError: there is none.
    """
    for path, item in _files(project):
        if isinstance(item, Script) and item.revision == revision:
            return path
    raise LookupError(revision)


def read_source(path: Path) -> str:
    """The text of a file, with line ends as Python sees them, and without a byte order mark."""
    return path.read_text("utf-8-sig")


def state(project: Project) -> State:
    """The files in the project's folders, by which is seen that one has come, gone or changed."""
    return tuple(
        (found.path, found.stat().st_mtime_ns, found.stat().st_size)
        for folder in dict.fromkeys(project.version_locations)
        for found in sorted(_entries(folder), key=lambda each: each.name)
        if found.name.endswith(".py") and found.name != "__init__.py"
    )


def _entries(folder: Path) -> tuple[os.DirEntry[str], ...]:
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        return tuple(entries)


def _files(project: Project) -> tuple[tuple[Path, Script | UnreadableScript], ...]:
    return _read_all(project.version_locations, state(project))


@lru_cache(maxsize=8)
def _read_all(
    folders: tuple[Path, ...], files: State
) -> tuple[tuple[Path, Script | UnreadableScript], ...]:
    common = os.path.commonpath(folders)
    return tuple(
        # A name alone could stand for two files in two folders.
        (Path(file), read.model_copy(update={"file": os.path.relpath(file, common)}))
        for file, changed_at, size in files
        for read in (_read_once(Path(file), changed_at, size),)
    )


@lru_cache(maxsize=4096)
def _read_once(path: Path, _changed_at: int, _size: int) -> Script | UnreadableScript:
    try:
        return _read(path)
    except (SyntaxError, ValueError) as error:
        return UnreadableScript(file=path.name, problem=f"{type(error).__name__}: {error}")


def _read(path: Path) -> Script:
    source = read_source(path)
    tree = ast.parse(source)
    constants = dict(_constants(tree))
    return Script(
        revision=_revision(constants.get("revision")),
        down_revisions=_tuple(constants.get("down_revision")),
        depends_on=_tuple(constants.get("depends_on")),
        branch_labels=_tuple(constants.get("branch_labels")),
        title=(ast.get_docstring(tree) or "").partition("\n")[0].rstrip("."),
        file=path.name,
        checksum=checksums.checksum(source),
        script_checksum=checksums.script_checksum(tree),
        lossy=_reason(constants.get("lossy")),
        irreversible=_reason(constants.get("irreversible")),
        leans_on_others=checksums.leans_on_others(tree),
    )


def _with_labels_resolved(scripts: Sequence[Script]) -> tuple[Script, ...]:
    """What depends on a branch label depends on the revision that carries it."""
    labelled = {label: s.revision for s in scripts for label in s.branch_labels}
    return tuple(
        script.model_copy(
            update={"depends_on": tuple(labelled.get(n, n) for n in script.depends_on)}
        )
        if labelled.keys() & set(script.depends_on)
        else script
        for script in scripts
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
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in checksums.PLACE:
                yield target.id, ast.literal_eval(value)


def _tuple(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(str(item) for item in value)
    raise ValueError(f"{value!r} names no revision")
