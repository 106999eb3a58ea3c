"""Cuts the normal form of a statement where no bracket is open. Pure."""

from __future__ import annotations

import re

from tasks.migrations.hazards.sql import Token, plain_name, tokens

_OPENING, _CLOSING = {"(", "["}, {")", "]"}
_OPERAND = re.compile(r"""(?!(?:not|case|row|array)$)\w+|"[^"]+"|'.*'""", re.DOTALL)
_SAME = {
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "float4": "real",
    "float8": "double precision",
    "timestamptz": "timestamp with time zone",
    "timestamp without time zone": "timestamp",
}


def cast_of(expression: str) -> tuple[str, str]:
    """What an expression casts, and to which type; the type is empty if it is no cast.

    >>> cast_of("( lower ( a )::citext )")
    ('lower ( a )', 'citext')
    """
    expression = _unwrapped(expression)
    if expression.startswith("cast ("):
        inside = expression.removeprefix("cast")
        value, type_name = _around_last(_unwrapped(inside), "as")
        is_one = _unwrapped(inside) != inside
    else:
        value, type_name = _around_last(expression, "::")
        is_one = _is_one_operand(value)
    return (value, type_name) if type_name and is_one else (expression, "")


def type_of(name: str) -> str:
    """The one of the names of a type that is used here; its size stays."""
    plain, bracket, size = name.removeprefix("pg_catalog.").partition(" (")
    return _SAME.get(plain, plain) + bracket + size


def words(*normal: str | None) -> set[str]:
    """Every token of the expressions, names as `plain_name` writes them."""
    return {plain_name(token.text) for each in normal if each for token in tokens(each)}


def _is_one_operand(normal: str) -> bool:
    """True if a cast behind it casts all of it: a name, a call, a bracket, or another cast."""
    depth, before = 0, "::"
    for token in tokens(normal):
        is_outer = depth == 0
        depth += _step(token)
        if not is_outer or token.text in _CLOSING:
            continue
        if token.text not in {".", "::", *_OPENING} and (
            before not in {".", "::"} or not _OPERAND.fullmatch(token.text)
        ):
            return False
        before = token.text
    return True


def _around_last(normal: str, word: str) -> tuple[str, str]:
    depth, cut = 0, None
    for token in tokens(normal):
        depth += _step(token)
        if token.text == word and depth == 0:
            cut = token
    if cut is None:
        return normal, ""
    return normal[: cut.start].strip(), normal[cut.end :].strip()


def _unwrapped(normal: str) -> str:
    """The expression without brackets that are around all of it."""
    depth, found = 0, tokens(normal)
    for token in found[:-1]:
        depth += _step(token)
        if depth == 0:
            return normal
    if len(found) > 2 and found[0].text == "(" and found[-1].text == ")":
        return _unwrapped(normal[found[0].end : found[-1].start].strip())
    return normal


def _step(token: Token) -> int:
    return (token.text in _OPENING) - (token.text in _CLOSING)
