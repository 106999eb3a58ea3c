"""Who holds which part of a layer, and what is free. Reads only; needs no Prefect."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.errors import NotFound
from tasks.experiments.layers.slots import Slot, gaps

QUERIES = load_queries(__package__, "reading.sql")


class Part(BaseModel):
    """A part of a layer, from ``lower`` up to ``upper``; without an experiment it is free."""

    model_config = ConfigDict(frozen=True)

    lower: float
    upper: float
    experiment: str | None = None
    status: str | None = None
    units: int = 0  # assigned so far, without those that a person put there

    @property
    def share(self) -> float:
        """How much of the layer it is."""
        return Slot(self.lower, self.upper).share


class Layer(BaseModel):
    """A layer, and its parts from 0 to 1."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str | None
    created_by: str | None
    created_at: datetime
    parts: tuple[Part, ...]

    @property
    def free(self) -> tuple[Part, ...]:
        """The parts that nobody holds."""
        return tuple(part for part in self.parts if part.experiment is None)

    @property
    def free_share(self) -> float:
        """How much of the layer nobody holds."""
        return round(sum(part.share for part in self.free), 9)


def read_layers(connection: Connection, name: str | None = None) -> list[Layer]:
    """Every layer by name, or the one that is asked for.

    An experiment that has ended holds nothing. Raises NotFound where no layer is called so.
    """
    rows = connection.execute(QUERIES["layers"], {"name": name}).all()
    if not rows and name is not None:
        raise NotFound(f"no layer is called {name!r}; `headway layer list` lists them")
    return [_layer(list(group)) for _, group in groupby(rows, key=lambda row: row.name)]


def _layer(rows: list[Any]) -> Layer:
    first = rows[0]
    held = [
        Part(
            lower=row.lower_bound,
            upper=row.upper_bound,
            experiment=row.experiment,
            status=row.status,
            units=row.units,
        )
        for row in rows
        if row.experiment is not None
    ]
    free = gaps([Slot(part.lower, part.upper) for part in held])
    parts = [*held, *(Part(lower=slot.lower, upper=slot.upper) for slot in free)]
    return Layer(
        name=first.name,
        description=first.description,
        created_by=first.created_by,
        created_at=first.created_at,
        parts=tuple(sorted(parts, key=lambda part: part.lower)),
    )
