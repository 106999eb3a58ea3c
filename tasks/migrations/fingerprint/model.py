"""A schema as data, what makes two of them equal, and the words for a difference. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FORMAT = 1
Attributes = dict[str, Any]
Change = Literal["added", "removed", "changed"]

# True of a database without being promised by its revisions: told, and never a fault.
INFORMATION: Mapping[str, frozenset[str]] = {
    "table": frozenset({"column_order"}),
    "column": frozenset({"statistics", "options"}),  # of the planner alone
    "statistics": frozenset({"statistics"}),
    "extension": frozenset({"version"}),
}
# What statements need to know, and what means nothing, or what the definition says too.
UNCOMPARED = frozenset({"chosen_name", "chosen_names", "shape"})
_SHOWN = 160


class Fingerprint(BaseModel):
    """Every object of a schema with its attributes, by a key such as `column public.parent.qty`.

    ``format`` changes with what is read: fingerprints of two formats say nothing about each other.
    Names that Postgres chose are in no key, and are not compared. ``of`` is the key of the object
    that another is part of. An attribute that is not there is None.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    server_major: int
    objects: dict[str, Attributes]

    @cached_property
    def hash(self) -> str:
        """sha256, as hex, of all that is promised: on one major, equal for equal schemas."""
        return hashlib.sha256(canonical_json(self.objects).encode()).hexdigest()


class Difference(BaseModel):
    """One object that only one side has, or one attribute in which the two differ."""

    model_config = ConfigDict(frozen=True)

    object: str
    change: Change
    attribute: str | None = None
    expected: Any = None
    actual: Any = None
    is_information: bool = False

    @property
    def text(self) -> str:
        """One line for a person."""
        if self.change == "added":
            return f"{self.object} is there, and no revision made it"
        if self.change == "removed":
            return f"{self.object} is missing"
        attribute = (self.attribute or "").replace("_", " ")
        return f"{self.object}: {attribute} is {_shown(self.actual)}, not {_shown(self.expected)}"

    @property
    def summary(self) -> str:
        """What it is that came or went, where one attribute says it; else nothing."""
        found = self.actual if self.change == "added" else self.expected
        if self.change == "changed" or not isinstance(found, dict):
            return ""
        told = found.get("definition") or found.get("type")
        return _shown(told) if told else ""


def kind_of(key: str) -> str:
    """The kind in an object's key: the words before its name."""
    for kind in _LONG_KINDS:
        if key.startswith(f"{kind} "):
            return kind
    return key.partition(" ")[0]


def name_of(key: str) -> str:
    """The name in an object's key, quoted as Postgres wants it."""
    return key[len(kind_of(key)) + 1 :]


def is_information(key: str, attribute: str) -> bool:
    """True of what may differ without being drift."""
    return attribute in INFORMATION.get(kind_of(key), ())


def canonical_json(objects: Mapping[str, Attributes]) -> str:
    """The promised part of the objects as JSON: sorted, without blanks."""
    promised = {
        key: {
            name: value
            for name, value in found.items()
            if name not in UNCOMPARED and not is_information(key, name)
        }
        for key, found in objects.items()
    }
    return json.dumps(promised, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


_LONG_KINDS = (
    "materialized view",
    "composite type",
    "range type",
    "base type",
    "default privileges",
    "event trigger",
    "operator class",
    "operator family",
    "text search configuration",
    "text search dictionary",
)


def _shown(value: Any) -> str:
    if value is None or value is False:
        return "none" if value is None else "no"
    if value is True:
        return "yes"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _SHOWN else f"{one_line[: _SHOWN - 1]}…"
