"""What two major versions of Postgres print differently for the same schema. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.migrations.fingerprint.model import Attributes

# Attributes that Postgres deparses from a parsed expression; all others are compared as they are.
_DEPARSED = frozenset(
    {
        "definition",
        "expression",
        "default",
        "generated",
        "body",
        "arguments",
        "predicate",
        "keys",
        "using",
        "check",
        "checks",
        "partition_key",
        "partition",
    }
)
_SIMPLE_QUOTED = re.compile(r'"([a-z_][a-z0-9_$]*)"')
_QUALIFIER = re.compile(r'((?:"(?:[^"]|"")+"|[a-z_][\w$]*))\.(?=["a-z_*])')
# A test that some majors put into parentheses.
_TESTED = re.compile(r"\(([^()]+ IS (?:NOT )?(?:DOCUMENT|JSON)\b[^()]*)\)")
# A function's body that is kept as it was parsed; all others are kept as they were written.
_PARSED_BODY = re.compile(r"\s*(BEGIN ATOMIC|RETURN)\b")
# A privilege that 17 brought: on an older server it can neither be given nor be missing.
_NEW_PRIVILEGE = re.compile(r"(no )?MAINTAIN TO ")


def as_on_any_major(objects: Mapping[str, Attributes]) -> dict[str, Attributes]:
    """The objects without the quotes that only some majors need, and privileges that some lack."""
    return {
        _unquoted(key): {name: _on_any_major(name, value) for name, value in found.items()}
        for key, found in objects.items()
    }


def is_same_on_other_major(name: str, expected: Any, actual: Any) -> bool:
    """True if the texts differ only in blanks, or as majors are known to differ.

    Since 16 a query on a single relation prints its columns without the relation's name, and some
    tests (`IS DOCUMENT`) lost their parentheses.
    """
    if name == "grants":
        return (expected or []) == (actual or [])
    if name not in _DEPARSED or expected is None or actual is None:
        return False
    if name == "body" and not _PARSED_BODY.match(str(expected)):
        return False
    one, other = _plain(expected), _plain(actual)
    if one == other:
        return True
    qualifiers = set(_QUALIFIER.findall(one)) | set(_QUALIFIER.findall(other))
    return any(_without(one, each) == _without(other, each) for each in qualifiers)


def _on_any_major(name: str, value: Any) -> Any:
    if name == "of":
        return _unquoted(value)
    if name == "grants":
        return [grant for grant in value if not _NEW_PRIVILEGE.match(grant)] or None
    return value


def _unquoted(key: str) -> str:
    return _SIMPLE_QUOTED.sub(r"\1", key)


def _plain(value: Any) -> str:
    text = " \0 ".join(map(str, value)) if isinstance(value, list) else str(value)
    return _TESTED.sub(r"\1", " ".join(_unquoted(text).split()))


def _without(text: str, qualifier: str) -> str:
    return re.sub(rf'(?<![\w$".]){re.escape(qualifier)}\.(?=["a-z_*])', "", text)
