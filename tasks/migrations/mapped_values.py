"""What rows get instead of enum values that a downgrade removes, as people write it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.errors import InputError
from tasks.migrations.archive.model import EnumLabel


def parse(given: Iterable[str]) -> dict[str, str]:
    """`type.value=other` as pairs of `type.value` and `other`.

    Raises:
        InputError: something is written otherwise.
    """
    found = {}
    for text in given:
        value, equals, other = text.partition("=")
        if not (equals and other and "." in value):
            raise InputError(f"{text!r} maps nothing: write it as type.value=other")
        found[value] = other
    return found


def of_labels(mapped: Mapping[str, str], removed: Iterable[EnumLabel]) -> dict[EnumLabel, str]:
    """The same for the values that really go; a type may be named with its schema."""
    found = {}
    for schema, name, label in removed:
        for written in (f"{schema}.{name}.{label}", f"{name}.{label}"):
            if written in mapped:
                found[schema, name, label] = mapped[written]
                break
    return found
