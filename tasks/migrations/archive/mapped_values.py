"""What rows get instead of enum values that a downgrade removes, as people write it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

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


def require_all_used(mapped: Mapping[str, str], removed: Iterable[EnumLabel]) -> None:
    """Check that each value that is mapped really goes.

    Raises:
        InputError: one stays, or is no value at all; the message lists those that go.
    """
    going = {name for label in removed for name in _names(label)}
    unused = sorted(set(mapped) - going)
    if unused:
        listed = ", ".join(sorted(name for name in going if name.count(".") == 1))
        raise InputError(
            f"{unused[0]!r} does not go, so it maps nothing; going: {listed or 'none'}"
        )


def is_mapped(mapped: Collection[str], label: EnumLabel) -> bool:
    """True if the value gets another; its type may be named with its schema."""
    return any(name in mapped for name in _names(label))


def _names(label: EnumLabel) -> tuple[str, str]:
    schema, name, value = label
    return f"{schema}.{name}.{value}", f"{name}.{value}"


def of_labels(mapped: Mapping[str, str], removed: Iterable[EnumLabel]) -> dict[EnumLabel, str]:
    """The same for the values that really go; a type may be named with its schema."""
    found = {}
    for label in removed:
        for written in _names(label):
            if written in mapped:
                found[label] = mapped[written]
                break
    return found
