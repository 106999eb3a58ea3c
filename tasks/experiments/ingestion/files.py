"""Files of rows, read in batches: CSV, JSON lines, Parquet.

A file is scanned once for its checksum and the place and checksum of each batch; then any machine
that sees the file can read any batch by itself, and notices if it has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError
from tasks.experiments.ingestion.columns import Records
from tasks.experiments.ingestion.formats import FORMATS, Batch


class FileScan(BaseModel):
    """What one pass over a file found."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    batches: tuple[Batch, ...]


def scan_file(path: str, batch_size: int) -> FileScan:
    """Read the file once; InputError where it cannot be read as rows at all."""
    file = _existing(path)
    suffix = _suffix(file)
    size = file.stat().st_size
    whole = _digest(file, 0, size)
    pieces = list(_pieces(FORMATS[suffix].locate(file), batch_size))
    if file.stat().st_size != size:
        raise InputError(f"{path} is still being written; load it when it is complete")
    ends = [*(piece.offset for piece in pieces[1:]), size]
    batches = []
    for number, (piece, end) in enumerate(zip(pieces, ends, strict=False)):
        length = (end or size) - piece.offset
        batches.append(
            Batch(
                number=number,
                first_row=number * batch_size,
                row_count=piece.row_count,
                offset=piece.offset,
                byte_count=length,
                sha256=whole if length == size else _digest(file, piece.offset, length),
                line_number=piece.line_number,
            )
        )
    return FileScan(sha256=whole, batches=tuple(batches))


def read_batch(path: str, batch: Batch) -> Records:
    """Rows of one batch as the file gives them, broken ones among them; blank lines left out.

    Raises InputError where its bytes are not those that were scanned.
    """
    file = _existing(path)
    if _digest(file, batch.offset, batch.byte_count) != batch.sha256:
        raise InputError(f"{path} has changed since it was scanned; load it again")
    found = [
        (batch.first_row + index, line_number, raw)
        for index, (line_number, raw) in enumerate(FORMATS[_suffix(file)].read(file, batch))
        if raw is not None
    ]
    numbers, lines, raws = ([row[part] for row in found] for part in range(3))
    return Records(numbers, lines, raws)


def _existing(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path} is not a file that this machine can see")
    return file


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{file.name}: unknown format; known: {', '.join(sorted(FORMATS))}")
    return suffix


def _digest(file: Path, offset: int, byte_count: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        stream.seek(offset)
        while piece := stream.read(min(byte_count, 1 << 20)):
            digest.update(piece)
            byte_count -= len(piece)
    return digest.hexdigest()


class _Piece(NamedTuple):
    offset: int
    line_number: int
    row_count: int


def _pieces(places: Iterator[tuple[int, int]], batch_size: int) -> Iterator[_Piece]:
    """Cut (offset, lines before) of each row into batches."""
    while held := list(islice(places, batch_size)):
        yield _Piece(*held[0], len(held))
