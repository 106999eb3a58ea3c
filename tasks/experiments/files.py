"""Files of rows, read in batches: CSV, JSON lines, Parquet.

A file is scanned once for its checksum and the place where each batch begins; then any machine
that sees the file can read any batch by itself.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError
from tasks.experiments.events import BrokenRow, Row, parse_row, rejected

Record = tuple[int, Any]  # line number (or row number), raw row or BrokenRow


class Batch(BaseModel):
    """A piece of a file: where it begins and how many rows it holds."""

    model_config = ConfigDict(frozen=True)

    number: int
    first_row: int
    row_count: int
    offset: int  # byte where it begins; Parquet: unused
    line_number: int  # lines before it


class FileScan(BaseModel):
    """What one pass over a file found."""

    model_config = ConfigDict(frozen=True)

    path: str
    sha256: str
    size: int
    batches: tuple[Batch, ...]


def scan_file(path: str, batch_size: int) -> FileScan:
    """Read the file once; InputError where it cannot be read as rows at all."""
    file = _existing(path)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    locate = _FORMATS[_suffix(file)][0]
    batches = tuple(locate(file, batch_size))
    return FileScan(path=path, sha256=digest, size=file.stat().st_size, batches=batches)


def read_batch(path: str, batch: Batch, sha256: str, experiment: str | None) -> list[Row]:
    """Rows of one batch, broken ones among them with their reason; blank lines left out."""
    file = _existing(path)
    rows = []
    for index, (line_number, raw) in enumerate(_FORMATS[_suffix(file)][1](file, batch)):
        if isinstance(raw, BrokenRow):
            rows.append(rejected(raw, line_number))
        elif raw is not None:
            fallback_id = f"{sha256}:{batch.first_row + index}"
            rows.append(parse_row(raw, line_number, experiment, fallback_id))
    return rows


def _existing(path: str) -> Path:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path} is not a file that this machine can see")
    return file


def _suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(f"{file.name}: unknown format; known: {', '.join(sorted(_FORMATS))}")
    return suffix


def _in_batches(places: Iterator[tuple[int, int]], batch_size: int) -> Iterator[Batch]:
    """Cut (offset, lines before) of each row into batches."""
    first_row, number = 0, 0
    while held := list(islice(places, batch_size)):
        offset, line_number = held[0]
        yield Batch(
            number=number,
            first_row=first_row,
            row_count=len(held),
            offset=offset,
            line_number=line_number,
        )
        first_row, number = first_row + len(held), number + 1


class _Lines:
    """Lines of a stream as text, counting bytes and lines as they are taken."""

    def __init__(self, stream: IO[bytes], line_number: int = 0) -> None:
        self._stream, self.offset, self.line_number = stream, stream.tell(), line_number

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.offset += len(line)
            self.line_number += 1
            # What is not UTF-8 becomes lone surrogates, which no column takes: a rejected row.
            yield line.decode("utf-8", "surrogateescape")


def _header(file: Path) -> tuple[list[str], int, int]:
    """Names of the columns, and where the rows begin (byte, line)."""
    with file.open("rb") as stream:
        lines = _Lines(stream)
        try:
            names = next(csv.reader(iter(lines)), [])
        except csv.Error as error:
            raise InputError(f"{file.name}: the header cannot be read: {error}") from None
    names = [name.removeprefix("\ufeff").strip() for name in names]
    if "user_id" not in names:
        raise InputError(f"{file.name}: no column user_id in the header ({', '.join(names)})")
    return names, lines.offset, lines.line_number


def _csv_fields(lines: _Lines) -> Iterator[list[str] | csv.Error]:
    reader = csv.reader(iter(lines))
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _locate_csv(file: Path, batch_size: int) -> Iterator[Batch]:
    _, offset, line_number = _header(file)
    with file.open("rb") as stream:
        stream.seek(offset)
        lines = _Lines(stream, line_number)

        def places() -> Iterator[tuple[int, int]]:
            before = lines.offset, lines.line_number
            for _ in _csv_fields(lines):
                yield before
                before = lines.offset, lines.line_number

        yield from _in_batches(places(), batch_size)


def _read_csv(file: Path, batch: Batch) -> Iterator[Record]:
    names, _, _ = _header(file)
    with file.open("rb") as stream:
        stream.seek(batch.offset)
        lines = _Lines(stream, batch.line_number)
        fields = _csv_fields(lines)
        for _ in range(batch.row_count):
            line_number = lines.line_number + 1
            values = next(fields)
            yield line_number, _csv_row(names, values)


def _csv_row(names: list[str], values: list[str] | csv.Error) -> Any:
    if isinstance(values, csv.Error):
        return BrokenRow("broken-row", f"the row cannot be read as CSV: {values}")
    if not values:
        return None
    if len(values) != len(names):
        message = f"{len(values)} fields where the header has {len(names)}"
        return BrokenRow("broken-row", message, values)
    return dict(zip(names, values, strict=True))


def _locate_json(file: Path, batch_size: int) -> Iterator[Batch]:
    with file.open("rb") as stream:

        def places() -> Iterator[tuple[int, int]]:
            offset = 0
            for number, line in enumerate(stream):
                yield offset, number
                offset += len(line)

        yield from _in_batches(places(), batch_size)


def _read_json(file: Path, batch: Batch) -> Iterator[Record]:
    with file.open("rb") as stream:
        stream.seek(batch.offset)
        lines = _Lines(stream, batch.line_number)
        for line in islice(iter(lines), batch.row_count):
            yield lines.line_number, _json_row(line)


def _json_row(line: str) -> Any:
    if not line.strip():
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return BrokenRow("broken-row", "the line is not JSON", line)
    if not isinstance(found, dict):
        return BrokenRow("broken-row", "the line is not a JSON object", line)
    return found


def _locate_parquet(file: Path, batch_size: int) -> Iterator[Batch]:
    count = _parquet(file).metadata.num_rows
    return _in_batches(((0, row) for row in range(count)), batch_size)


def _read_parquet(file: Path, batch: Batch) -> Iterator[Record]:
    position, last = 0, batch.first_row + batch.row_count
    for piece in _parquet(file).iter_batches():
        start, stop = max(batch.first_row - position, 0), min(last - position, piece.num_rows)
        if start < stop:
            rows = piece.slice(start, stop - start).to_pylist()
            yield from enumerate(rows, start=position + start + 1)
        position += piece.num_rows
        if position >= last:
            return


def _parquet(file: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file.name} cannot be read as Parquet: {error}") from None


_Locate = Callable[[Path, int], Iterator[Batch]]
_Read = Callable[[Path, Batch], Iterator[Record]]
_FORMATS: dict[str, tuple[_Locate, _Read]] = {
    ".csv": (_locate_csv, _read_csv),
    ".jsonl": (_locate_json, _read_json),
    ".ndjson": (_locate_json, _read_json),
    ".parquet": (_locate_parquet, _read_parquet),
}
