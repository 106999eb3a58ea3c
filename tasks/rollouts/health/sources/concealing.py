"""What looks like a secret where none may stand: a policy is stored, and shown to whoever asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

HOW = (
    "a policy is stored and shown: send it as a header, and name there where it is kept, as "
    '{"env": "NAME"} or {"block": "name"}, with "prefix": "Bearer " where that stands before it'
)
"""What to do with a secret instead."""

_NAMES = re.compile(
    r"auth(?!or(?!i))|token|secret|cookie|passw|passphrase|api.?key|signature|credential|bearer|jwt"
    r"|(access|private|account|shared|secret|signing|encryption).?key|session.?(id|key)"
    r"|(^|[^a-z])(sig|pwd|pw|hmac)($|[^a-z])",
    re.IGNORECASE,
)
_NEVER_A_NUMBER = re.compile(r"passw|secret|pwd", re.IGNORECASE)
_VALUES = re.compile(r"\s*(bearer|basic)\s+\S", re.IGNORECASE)


def is_telling_name(name: str) -> bool:
    """Tell whether what has this name is a secret."""
    return _NAMES.search(name) is not None


def is_telling_value(value: str) -> bool:
    """Tell whether the text is a credential, whatever its name."""
    return _VALUES.match(value) is not None


def revealed(document: Any, path: str, *, is_named: bool = False) -> Iterator[str]:
    """Where in a JSON document a secret seems to stand, however deep: paths, never values.

    ``is_named`` says that something around it has the name of a secret.
    """
    match document:
        case dict():
            for name, value in document.items():
                here = f"{path}.{name}"
                if isinstance(value, int | float) and not isinstance(value, bool):
                    if _NEVER_A_NUMBER.search(name):  # tokens are counted, passwords are not
                        yield here
                else:
                    yield from revealed(value, here, is_named=is_named or is_telling_name(name))
        case list():
            for number, value in enumerate(document):
                yield from revealed(value, f"{path}[{number}]", is_named=is_named)
        case str() if document and (is_named or is_telling_value(document)):
            yield path
