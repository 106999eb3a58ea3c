"""Checksums of a revision's file: of its text, and of its code however it is written down. Pure."""

from __future__ import annotations

import ast
import hashlib
import sys

# Where a revision stands in the graph is not its content, nor is what it says about itself.
PLACE = {"revision", "down_revision", "branch_labels", "depends_on", "lossy", "irreversible"}
# How a literal was written, and what only a type checker reads.
_UNWRITTEN = {"kind", "type_comment", "ctx"}
# What can be imported without the SQL depending on a file that is not the revision's own.
_SETTLED = sys.stdlib_module_names - {"os", "pathlib", "io", "importlib", "subprocess", "runpy"}
_LIBRARIES = _SETTLED | {"alembic", "sqlalchemy"}


def checksum(text: str) -> str:
    """sha256 as hex; line ends do not count (a checkout may change them)."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def script_checksum(tree: ast.Module) -> str:
    """sha256 of the code: without comments, docstrings, layout, the order of imports, its place."""
    body = [node for node in tree.body if not _is_text(node) and not _is_place(node)]
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    code = [_written(node) for node in body if node not in imports]
    return checksum("\n".join(sorted(map(_written, imports)) + code))


def _is_place(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return False
    return all(isinstance(target, ast.Name) and target.id in PLACE for target in targets)


def _written(node: ast.stmt) -> str:
    lines: list[str] = []
    _write(node, 0, lines)
    return "\n".join(lines)


def _write(node: object, depth: int, lines: list[str]) -> None:
    # Not ast.dump: its form differs from one version of Python to the next.
    if isinstance(node, ast.AST):
        lines.append(f"{depth} {type(node).__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != [] and name not in _UNWRITTEN:
                lines.append(f"{depth} .{name}")
                _write(_without_docstring(node, name, value), depth + 1, lines)
    elif isinstance(node, list):
        for item in node:
            _write(item, depth, lines)
    else:
        lines.append(f"{depth} {node!r}")


def _without_docstring(node: ast.AST, name: str, value: object) -> object:
    is_holder = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    if is_holder and name == "body" and isinstance(value, list):
        return value[_is_text(value[0]) :]
    return value


def _is_text(node: object) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


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
