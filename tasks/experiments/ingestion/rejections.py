"""The rows that could not be loaded, as they are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound

QUERIES = load_queries(__package__)


class RejectedRow(BaseModel):
    """A row with its batch, its line in the source, why it was rejected, and what it said."""

    model_config = ConfigDict(frozen=True)

    batch: int
    source: str
    line: int
    reason: str
    message: str
    raw: Any
    rejected_at: datetime

    def shortened(self, length: int = 80) -> str:
        """What it said, in so many characters."""
        said = self.raw if isinstance(self.raw, str) else to_json(self.raw).decode()
        return said if len(said) <= length else said[: length - 1] + "…"


def list_rejected(
    tx: Connection, *, batch: int | None = None, experiment: str | None = None, limit: int = 100
) -> list[RejectedRow]:
    """The newest rejected rows, of one batch or of those that name one experiment.

    NotFound for a batch that was never loaded; an experiment need not exist.
    """
    asked = {"batch": batch, "experiment": experiment, "limit": limit}
    found = tx.execute(QUERIES["list_rejected"], asked).mappings()
    rows = [RejectedRow.model_validate(dict(row)) for row in found]
    if not rows and batch is not None and tx.scalar(QUERIES["has_batch"], {"batch": batch}) is None:
        raise NotFound(f"no batch {batch} was loaded; `headway experiment rejected` names some")
    return rows
