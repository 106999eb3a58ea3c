"""A script's statements with their transactions, and what a revision's Python shows. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from tasks.migrations.hazards.model import Downgrade, EmittedStatement
from tasks.migrations.hazards.sql import normalise, split

_BEGIN = re.compile(r"begin(?: transaction| work)?$|start transaction$")
_COMMIT = re.compile(r"(?:commit|end)(?: transaction| work)?$")


def read_script(sql: str, *, in_transaction: bool = False) -> tuple[EmittedStatement, ...]:
    """The statements of a script as it is written down: BEGIN and COMMIT part its transactions.

    What is outside of them commits by itself. A BEGIN that nobody ends, and a COMMIT without its
    BEGIN, stay in the list. ``in_transaction`` says that a runner
    begins and ends one around the script.

    Raises:
        UnreadableSql: a quote is left open.
    """
    number = 1
    current: int | None = number if in_transaction else None
    begun: int | None = None
    found: list[EmittedStatement] = []
    for statement in split(sql):
        text = normalise(statement)
        if _BEGIN.match(text) and current is None:
            number += 1
            current, begun = number, len(found)
        elif _COMMIT.match(text) and current is not None:
            current, begun = None, None
        else:
            found.append(EmittedStatement(sql=statement, transaction=current))
    if not in_transaction and begun is not None and begun < len(found):
        found.insert(begun, EmittedStatement(sql="BEGIN", transaction=current))
    return tuple(found)


def imports(source: str, is_application: Callable[[str], bool]) -> tuple[str, ...]:
    """The modules of the application that the file imports, anywhere in it."""
    found = (name for node in ast.walk(ast.parse(source)) for name in _imported(node))
    return tuple(dict.fromkeys(name for name in found if is_application(name)))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        yield node.module


def downgrade_of(source: str) -> Downgrade:
    """What the file's `downgrade` is: a function that does something, nothing, or raises."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            return _kind(node)
    return "missing"


def _kind(function: ast.FunctionDef) -> Downgrade:
    body = [node for node in function.body if not _is_idle(node)]
    if not body:
        return "empty"
    return "raises" if isinstance(body[0], ast.Raise) else "present"


def _is_idle(node: ast.stmt) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_return = isinstance(node, ast.Return) and (
        node.value is None or isinstance(node.value, ast.Constant)
    )
    return isinstance(node, ast.Pass) or is_constant or is_return
