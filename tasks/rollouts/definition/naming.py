"""Names in a plan: short, on one line, and of characters that people can see."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

# Line breaks and controls, and what turns the direction of text: a name must look like what it is.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _seen(text: str) -> str:
    unseen = _UNSEEN.search(text)
    if unseen:
        raise ValueError(
            f"it holds a line break or control character, U+{ord(unseen[0]):04X}; leave it out"
        )
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    Field(json_schema_extra={"pattern": r"\S"}),  # the form refuses blanks too
    AfterValidator(_seen),
]

SOURCE_ALERT, UNKNOWN_ALERT, TICK_ALERT = "health source", "health unknown", "tick"
OWN_ALERTS = frozenset({SOURCE_ALERT, UNKNOWN_ALERT, TICK_ALERT})
"""Alerts of a rollout that are not about the value of one check: no check may be named so."""
