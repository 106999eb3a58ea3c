"""Checksums of a revision's file: of its text, and of its code however it is written down. Pure."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator

# Where a revision stands in the graph is not its content, nor is what it says about itself.
PLACE = {"revision", "down_revision", "branch_labels", "depends_on", "lossy", "irreversible"}
# What can be imported without the SQL depending on a file that is not the revision's own.
_SETTLED = sys.stdlib_module_names - {"os", "pathlib", "io", "importlib", "subprocess", "runpy"}
_LIBRARIES = _SETTLED | {"alembic", "sqlalchemy"}


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
    return all(isinstance(target, ast.Name) and target.id in PLACE for target in targets)


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


def leans_on_others(tree: ast.Module) -> bool:
    """Can its SQL change although its code does not, because it imports or reads other files?"""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "" if node.level == 0 else ""]
        elif isinstance(node, ast.Name) and node.id in {"open", "__import__"}:
            return True
        else:
            continue
        if any(name.partition(".")[0] not in _LIBRARIES for name in names):
            return True
    return False
