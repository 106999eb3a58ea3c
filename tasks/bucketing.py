"""Where a unit falls between 0 and 1: one definition, with the same answer in Python and SQL.

``bucket(salt, unit)`` = first 32 bits of md5(salt ‖ ':' ‖ unit in UTF-8), divided by 2³². The SQL
function ``bucket(text, text)`` computes the same number. A different salt is a different shuffle;
the same salt is the same people.
"""

from __future__ import annotations

from hashlib import md5
from math import isfinite

from tasks.errors import InputError

HASH_VERSION = 1
"""Names the definition above; every rollout stores it, so that a new one never moves old units."""


def bucket(salt: str, unit: str) -> float:
    """Return the unit's place in [0, 1): fixed for ever by its salt and its text.

    The unit is text as Postgres holds it: ``"7"`` and ``"007"`` are two units, the number 7 is
    not one (convert it where its format is known). Raise InputError for anything else.
    """
    text = f"{_checked(salt, 'salt')}:{_checked(unit, 'unit')}"
    digest = md5(text.encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) / 2**32


def is_exposed(salt: str, unit: str, percentage: float) -> bool:
    """Tell whether the unit belongs to the first ``percentage`` (0 to 100) of all units.

    Monotone: who is in at 5 % is in at every higher percentage. 0 is nobody, 100 everybody.
    Raise InputError for a percentage outside 0 to 100.
    """
    if not isfinite(percentage) or not 0 <= percentage <= 100:
        raise InputError(f"a percentage lies between 0 and 100, not {percentage!r}")
    # bucket × 100 is exact in a double (39 bits), so Postgres compares the very same numbers.
    return bucket(salt, unit) * 100 < percentage


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"a {what} must be text, not {type(text).__name__}: {text!r}")
    if "\0" in text:
        raise InputError(f"a {what} must not hold a NUL character: Postgres cannot store it")
    if not _encodes(text):
        raise InputError(f"a {what} must be valid Unicode text")
    return text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
