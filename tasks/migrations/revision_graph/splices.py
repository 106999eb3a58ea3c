"""Move a revision that was put below an applied one behind the head, by editing two files."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.errors import InputError
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.conflicts import Findings
from tasks.migrations.revision_graph.reading import find_file
from tasks.migrations.revision_graph.script import Script

_REVISES = re.compile(r"^(Revises:[ \t]*).*?(\r?)$", re.MULTILINE)


def reparent(project: Project, found: Findings, revision: str) -> tuple[Path, ...]:
    """Let the spliced revision build on the head, and what it was put below on what was there.

    Those that were spliced in together with it move together. Only ``down_revision`` changes in
    the files (and `Revises:` in their docstrings); returns the files that were written.

    Raises:
        InputError: the revision is not spliced, or there is not one head to put it behind.
    """
    if revision not in found.spliced:
        raise InputError(f"{revision!r} is not below an applied revision: nothing to move")
    moving = _together(found, revision)
    parents = _restored(found, moving)
    rest = [_with(script, parents) for script in found.scripts if script.revision not in moving]
    heads = graph.heads(rest)
    if len(heads) != 1:
        listed = ", ".join(script.revision for script in heads)
        raise InputError(f"there are {len(heads)} heads ({listed}): merge them first")
    for script in found.scripts:
        if script.revision in moving and not moving & set(script.down_revisions):
            parents[script.revision] = (heads[0].revision,)
    return tuple(_rewrite(project, each, parents[each]) for each in sorted(parents))


def rewrite_down_revision(source: str, parents: Sequence[str]) -> str:
    """The source of a revision that builds on these parents; everything else stays as it is.

    Raises:
        InputError: it has no ``down_revision`` at the top level.
    """
    tree = ast.parse(source)
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        value = getattr(node, "value", None)
        if "down_revision" in names and isinstance(value, ast.expr):
            changed = _replace(source, value, _literal(source, value, parents))
            return _in_docstring(changed, tree, parents)
    raise InputError("the file has no down_revision")


def _together(found: Findings, revision: str) -> frozenset[str]:
    """The spliced revisions that are connected with this one."""
    group = {revision}
    while True:
        linked = {
            script.revision
            for script in found.scripts
            if script.revision in found.spliced
            and (
                group & set(script.needs)
                or any(
                    script.revision in other.needs
                    for other in found.scripts
                    if other.revision in group
                )
            )
        }
        if linked <= group:
            return frozenset(group)
        group |= linked


def _restored(found: Findings, moving: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """For what was built on them: what is below those that move."""
    scripts = {script.revision: script for script in found.scripts}
    restored = {}
    for script in found.scripts:
        if script.revision in moving:
            continue
        if moving & set(script.depends_on):
            raise InputError(f"{script.file} depends on a revision that would move: edit it first")
        if moving & set(script.down_revisions):
            restored[script.revision] = tuple(_below(scripts, script.down_revisions, moving))
    return restored


def _below(scripts: dict[str, Script], parents: Iterable[str], moving: frozenset[str]) -> list[str]:
    found: list[str] = []
    for parent in parents:
        if parent in moving:
            found += _below(scripts, scripts[parent].down_revisions, moving)
        else:
            found.append(parent)
    return list(dict.fromkeys(found))


def _with(script: Script, parents: dict[str, tuple[str, ...]]) -> Script:
    if script.revision not in parents:
        return script
    return script.model_copy(update={"down_revisions": parents[script.revision]})


def _rewrite(project: Project, revision: str, parents: Sequence[str]) -> Path:
    path = find_file(project, revision)
    with path.open(encoding="utf-8", newline="") as file:
        source = file.read()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(rewrite_down_revision(source, parents))
    return path


def _literal(source: str, value: ast.expr, parents: Sequence[str]) -> str:
    written = ast.get_source_segment(source, value) or ""
    quoted = [json.dumps(parent) for parent in parents]
    if '"' not in written and "'" in written:
        quoted = [repr(parent) for parent in parents]
    if not quoted:
        return "None"
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"


def _replace(source: str, node: ast.expr, text: str) -> str:
    lines = source.splitlines(keepends=True)
    start, end = _offset(lines, node.lineno, node.col_offset), 0
    end = _offset(lines, node.end_lineno or node.lineno, node.end_col_offset or 0)
    return source[:start] + text + source[end:]


def _offset(lines: Sequence[str], line: int, column: int) -> int:
    # Python counts columns in bytes.
    within = len(lines[line - 1].encode()[:column].decode())
    return sum(len(each) for each in lines[: line - 1]) + within


def _in_docstring(source: str, tree: ast.Module, parents: Sequence[str]) -> str:
    if ast.get_docstring(tree, clean=False) is None:
        return source
    end = tree.body[0].end_lineno or 1
    lines = source.splitlines(keepends=True)
    said = ", ".join(parents)
    docstring = _REVISES.sub(lambda m: f"{m[1]}{said}{m[2]}", "".join(lines[:end]))
    return docstring + "".join(lines[end:])
