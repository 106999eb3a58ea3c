"""A rollout's plan as a file: TOML or JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from tasks.errors import InputError


def read_document(path: Path) -> dict[str, Any]:
    """What the file says, as plain values; InputError where it cannot be read."""
    try:
        return _parsed(path.read_text("utf-8"), path.suffix)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise InputError(f"{path} nests too deeply") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _parsed(text: str, suffix: str) -> dict[str, Any]:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix != ".json":
        raise ValueError("a plan is a file .toml or .json")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("a plan is one object: {…}")  # noqa: TRY004 - of the text, not of a type
    return document
