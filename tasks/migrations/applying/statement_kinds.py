"""What running a statement again would mean: nothing, or something. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_NAME = r'((?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))*)'


def _begins(words: str) -> re.Pattern[str]:
    return re.compile(rf"{_COMMENTS}(?:{words})\b", re.IGNORECASE | re.DOTALL)


_READ = _begins("select|show|values|table|explain|with")
_WRITES_IN_WITH = re.compile(r"\b(?:insert|update|delete|merge)\b", re.IGNORECASE)
_OF_SESSION = _begins(
    "set|reset|discard|begin|start transaction|rollback|savepoint|release|prepare|deallocate"
)
_COMMIT = _begins("commit|end")
_NO_TRANSACTION = _begins(
    r"create\s+(?:unique\s+)?index\s+concurrently|drop\s+index\s+concurrently|reindex|vacuum|"
    r"cluster|create\s+database|drop\s+database|(?:create|drop)\s+tablespace|alter\s+system|"
    r"call|do|(?:create|drop)\s+subscription"
)
_DETACH = re.compile(r"\bdetach\s+partition\b.*\bconcurrently\b", re.IGNORECASE | re.DOTALL)
_COMMITS_INSIDE = re.compile(r";.*\b(?:commit|rollback)\b", re.IGNORECASE | re.DOTALL)
_REPEATABLE = _begins("reindex|vacuum|analyze|cluster|alter system")
_CREATE_INDEX = re.compile(
    rf"{_COMMENTS}create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?"
    rf"{_NAME}\s+on\s+(?:only\s+)?{_NAME}",
    re.IGNORECASE | re.DOTALL,
)
_DROP_INDEX = re.compile(
    rf"{_COMMENTS}drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?{_NAME}\s*;?\s*$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """The index that a statement builds concurrently, and its table, as they are written."""

    name: str
    table: str


def is_read(sql: str) -> bool:
    """True if the statement only reads, unless a function in it writes."""
    return bool(_READ.match(sql)) and not (
        _begins("with").match(sql) and _WRITES_IN_WITH.search(sql)
    )


def is_of_session(sql: str) -> bool:
    """True if the statement is about the session or its transaction only."""
    return bool(_OF_SESSION.match(sql))


def is_commit(sql: str) -> bool:
    """True if the statement ends the transaction."""
    return bool(_COMMIT.match(sql))


def fits_into_transaction(sql: str) -> bool:
    """False if Postgres refuses the statement in a transaction, or it commits by itself."""
    return not (_NO_TRANSACTION.match(sql) or _DETACH.search(sql) or _COMMITS_INSIDE.search(sql))


def is_repeatable(sql: str) -> bool:
    """True if running the statement twice is as good as running it once."""
    return bool(_REPEATABLE.match(sql))


def built_index(sql: str) -> BuiltIndex | None:
    """The index that the statement builds concurrently."""
    found = _CREATE_INDEX.match(sql)
    return BuiltIndex(found[1], found[2]) if found else None


def dropped_index(sql: str) -> str | None:
    """The index that the statement drops concurrently."""
    found = _DROP_INDEX.match(sql)
    return found[1] if found else None


def hash_of(sql: str, parameters: Any = None) -> str:
    """By which a statement and its parameters are recognised."""
    return hashlib.sha256(f"{sql}\n{_plain(parameters)!r}".encode()).hexdigest()


def shorten(sql: str, limit: int = 500) -> str:
    """The statement in one line, cut where a reader has seen enough."""
    line = " ".join(sql.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _plain(parameters: Any) -> Any:
    if not parameters:
        return ()
    if isinstance(parameters, dict):
        return sorted((name, str(value)) for name, value in parameters.items())
    if isinstance(parameters, Iterable) and not isinstance(parameters, str):
        return [_plain(each) for each in parameters]
    return str(parameters)
