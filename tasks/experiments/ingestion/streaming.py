"""Load what a source gives piece by piece: in batches, each known by its own content."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import date
from hashlib import sha256
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from tasks.experiments.ingestion.batches import Content
from tasks.experiments.ingestion.columns import Records
from tasks.experiments.ingestion.loading import load_rows
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.experiments.ingestion.sources import pages, query  # registers them
from tasks.experiments.ingestion.sources.model import OtherSource, PagesSource, QuerySource
from tasks.experiments.ingestion.sources.registry import sources
from tasks.experiments.ingestion.values import BrokenRow, dump, storable

__all__ = ["LoadedPiece", "load_piece", "pages", "query"]


class LoadedPiece(BaseModel):
    """What became of one piece of a source, and where the next one is."""

    model_config = ConfigDict(frozen=True)

    batches: tuple[IngestedBatch, ...]
    next_place: str | None = None


def load_piece(
    tx: Connection,
    source: QuerySource | PagesSource | OtherSource,
    place: str | None,
    day: date | None,
) -> LoadedPiece:
    """Read a piece and load its rows, all of them in this transaction.

    An event without an id is known by what its row says, and by how many rows of the piece said
    the same before: the same day read again gives the same ids, in whatever order its rows come.
    """
    name = source.name if isinstance(source, OtherSource) else source.kind
    piece = sources.get(name)(source, place, day)
    said: Counter[str] = Counter()
    batches: list[IngestedBatch] = []
    with closing(_taken(piece.rows)) as rows:
        while raws := list(islice(rows, source.batch_size)):
            batches.append(_load(tx, source, raws, len(batches), said))
    return LoadedPiece(batches=tuple(batches), next_place=piece.next_place)


def _taken(rows: Iterator[Any]) -> Generator[Any, None, None]:
    yield from rows  # closing this closes a generator within, and the connection that it holds


def _load(
    tx: Connection,
    source: QuerySource | PagesSource | OtherSource,
    raws: list[Any],
    number: int,
    said: Counter[str],
) -> IngestedBatch:
    lines = [_line(raw) for raw in raws]
    content = Content(
        source=source.label,
        sha256=sha256("\n".join(lines).encode()).hexdigest(),
        number=number,
        first_row=0,
        row_count=len(raws),
        experiment=source.experiment,
        origin=source.kind,
    )
    ids = _ids(lines, raws, said)
    places = list(range(len(raws)))
    records = Records(places, [place + 1 for place in places], raws)
    return load_rows(tx, content, lambda: records, ids.__getitem__)


def _ids(lines: list[str], raws: list[Any], said: Counter[str]) -> dict[int, str]:
    """Ids of the rows without one, by their place."""
    ids = {}
    for place, (line, raw) in enumerate(zip(lines, raws, strict=True)):
        if not isinstance(raw, BrokenRow) and not raw.get("event_id"):
            digest = sha256(line.encode()).hexdigest()[:40]
            said[digest] += 1
            ids[place] = f"{digest}:{said[digest]}"
    return ids


def _line(raw: Any) -> str:
    """The row as text, the same whatever the order of its columns."""
    if isinstance(raw, BrokenRow):
        return f"{raw.code}:{dump(raw.raw)}"
    return json.dumps(storable(raw), ensure_ascii=False, sort_keys=True)
