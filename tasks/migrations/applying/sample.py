"""How many, and the first few by their keys. Pure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SAMPLE = 5


class Sample(BaseModel):
    """How many rows, and the keys of the first few."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = 0
    first_keys: tuple[str, ...] = ()
