"""JSON pointers (RFC 6901)."""

from __future__ import annotations

from typing import Any


def pointed(document: Any, pointer: str, missing: Any = None) -> Any:
    """What a JSON pointer points to; ``missing`` where there is nothing."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        elif isinstance(document, dict) and name in document:
            document = document[name]
        else:
            return missing
    return document
