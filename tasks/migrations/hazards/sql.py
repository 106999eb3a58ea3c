"""Reads SQL far enough for the rules: where statements end, and what their words are.

The rules match a *normal form*: one line without comments, words in lower case, one space
between tokens (none around a dot or `::`), so that a pattern need not think of layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError

from tasks.errors import InputError

NAME = r'(?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))*'
_PLAIN = re.compile(r'"([a-z_][a-z0-9_$]*)"')
_TIGHT = {".", "::"}
_OPENING, _CLOSING = {"(", "["}, {")", "]"}


class _Tokenizer(Postgres.Tokenizer):
    # Otherwise VACUUM, REINDEX, DO and others swallow the rest of their statement as one text.
    COMMANDS = set()  # noqa: RUF012


class UnreadableSql(InputError):
    """SQL whose tokens cannot be told apart: an open quote or comment."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL in its normal form, and where it ends in the text."""

    text: str
    start: int
    end: int


def tokens(sql: str) -> list[Token]:
    """The tokens of the text, without comments.

    Raises:
        UnreadableSql: a quote is left open.
    """
    try:
        found: list[Any] = _Tokenizer().tokenize(sql)
    except TokenError as error:
        raise UnreadableSql(f"the SQL cannot be read: {error}") from None
    return [Token(_normal(sql[t.start : t.end + 1]), t.start, t.end + 1) for t in found]


def _normal(raw: str) -> str:
    if raw[:1] == '"':
        return raw
    if "'" in raw or raw[:1] == "$":
        return raw
    return " ".join(raw.lower().split())


def split(sql: str) -> Iterator[str]:
    """The statements of a script, without their semicolons."""
    start: int | None = None
    end = 0
    for token in tokens(sql):
        if token.text == ";":
            if start is not None:
                yield sql[start:end]
            start = None
            continue
        start = token.start if start is None else start
        end = token.end
    if start is not None:
        yield sql[start:end]


def split_sent(sql: str) -> tuple[str, ...]:
    """The statements of what was sent to a driver, which wants its percent signs doubled."""
    try:
        return tuple(split(sql.replace("%%", "%")))
    except UnreadableSql:
        return (sql,)


@lru_cache(maxsize=4096)
def normalise(sql: str) -> str:
    """The normal form of one statement."""
    return _join([token.text for token in tokens(sql) if token.text != ";"])


def _join(words: list[str]) -> str:
    parts: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if before and before not in _TIGHT and word not in _TIGHT:
            parts.append(" ")
        parts.append(word)
    return "".join(parts)


def split_at_commas(normal: str) -> tuple[str, ...]:
    """The parts of a normal form between commas that are in no bracket."""
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens(normal):
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token.text)
    return tuple(_join(part) for part in parts if part)


def without_texts(normal: str) -> str:
    """The normal form with its texts empty: what they say is no SQL."""
    return _join(["''" if token.text.endswith("'") else token.text for token in tokens(normal)])


def plain_name(name: str) -> str:
    """A name as the catalogue has it: needless quotes and schema `public` left out."""
    return _PLAIN.sub(r"\1", name).removeprefix("public.")


def shorten(sql: str, limit: int = 160) -> str:
    """The statement in one line, cut where a reader has seen enough."""
    line = " ".join(sql.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
