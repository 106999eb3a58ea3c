"""Whether a query only reads: judged by its words alone, before it is sent anywhere.

Dialects disagree on what is a comment and where a string ends, so a query is read in two ways, the
standard's and MySQL's; it is refused if one of them finds something that may write. A word that
looks like a writing one is refused wherever it stands bare: in quotes it is a name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_READS = frozenset({"select", "with", "values", "table"})
_CHANGES = {"insert", "update", "delete", "merge", "into", "truncate"}
_WRITES = _CHANGES | {"drop", "alter", "create", "grant", "revoke", "exec", "execute"}
_NEVER_FUNCTIONS = frozenset({"into", "exec", "execute"})  # `truncate(` may be one, `exec(` not
_TOKEN = re.compile(r"[^\W\d][\w$]*|\S")


class _Reading(NamedTuple):
    line_comment: re.Pattern[str]
    string: re.Pattern[str]
    nests: bool  # a comment within a comment


_QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`"
_READINGS = (
    _Reading(re.compile(r"--[^\n]*"), re.compile(_QUOTED, re.DOTALL), nests=True),
    _Reading(re.compile(r"--(?=\s|$)[^\n]*|#[^\n]*"), re.compile(_ESCAPED, re.DOTALL), nests=False),
)


def reading_query(query: str) -> str:
    """The query, if it is a single statement that only reads; ValueError says why it is not."""
    if trouble := trouble_of(query):
        raise ValueError(
            f"{trouble}; a query is one statement that only reads (SELECT, WITH, VALUES or TABLE)"
        )
    return query


def trouble_of(query: str) -> str | None:
    """What makes it other than a single statement that only reads; None where it is one."""
    codes = [code for reading in _READINGS if (code := _code(query, reading)) is not None]
    if not codes:
        return "a quote or a comment in it is not closed"
    return next((found for code in codes if (found := _trouble(code)) is not None), None)


def _code(query: str, reading: _Reading) -> str | None:
    """The query with its comments gone and its strings emptied; None if one is not closed."""
    pieces, at = [], 0
    while at < len(query):
        if query[at] in "'\"`":
            found = reading.string.match(query, at)
            end, stands_for = (found.end() if found else None), "''"
        elif query.startswith("/*", at):
            end, stands_for = _comment_end(query, at, reading.nests), " "
            if query.startswith(("/*!", "/*M!"), at):
                stands_for = " /*! "  # MySQL runs it
        else:
            found = reading.line_comment.match(query, at)
            end, stands_for = (found.end(), " ") if found else (at + 1, query[at])
        if end is None:
            return None
        pieces.append(stands_for)
        at = end
    return "".join(pieces)


def _comment_end(query: str, start: int, nests: bool) -> int | None:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", query[start:]):
        if mark.group() == "*/":
            depth -= 1
        elif nests or depth == 0:
            depth += 1
        if depth == 0:
            return start + mark.end()
    return None


def _trouble(code: str) -> str | None:
    if "/*!" in code:
        return "it holds a comment that MySQL runs (/*! … */)"
    if re.search(r"\$\w*\$", code):
        return "it holds a dollar-quoted string; write it as '…'"
    tokens = _TOKEN.findall(code.casefold().rstrip("; \t\r\n\f\v"))
    if ";" in tokens:
        return "it holds several statements"
    first = next((word for word in tokens if word != "("), None)
    if first not in _READS:
        return f"it begins with {first or 'nothing'}"
    return _writing_word(tokens)


def _writing_word(tokens: list[str]) -> str | None:
    for before, word, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        is_name = before in {".", ":"} or (after == "(" and word not in _NEVER_FUNCTIONS)
        if word in _WRITES and not is_name:
            return f"it says {word.upper()} (as the name of a column: put it in quotes)"
    return None
