"""The formats of files of rows: where each row begins, and how the rows of a batch are read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError
from tasks.experiments.ingestion.hints import similar_columns
from tasks.experiments.ingestion.values import BrokenRow, parse_json

Record = tuple[int, Any]  # line number (or row number), raw row or BrokenRow


class Batch(BaseModel):
    """A piece of a file: where it begins and how many rows it holds."""

    model_config = ConfigDict(frozen=True)

    number: int
    first_row: int
    row_count: int
    offset: int  # byte where it begins; Parquet: 0
    byte_count: int  # Parquet: of the whole file, as its rows lie all over it
    sha256: str  # of those bytes
    line_number: int  # lines before it


class _Lines:
    """Lines of a stream as text, counting bytes and lines as they are taken."""

    def __init__(self, stream: IO[bytes], line_number: int = 0) -> None:
        self._stream, self.offset, self.line_number = stream, stream.tell(), line_number
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            # What is not UTF-8 becomes lone surrogates, which no column takes: a rejected row.
            text = line.decode("utf-8", "surrogateescape")
            if self.offset == 0:
                text = text.removeprefix("\ufeff")
            self.offset += len(line)
            self.line_number += 1
            self.taken.append(text)
            yield text


def _header(file: Path) -> tuple[list[str], int, int]:
    """Names of the columns, and where the rows begin (byte, line)."""
    with file.open("rb") as stream:
        lines = _Lines(stream)
        try:
            names = next(csv.reader(iter(lines)), [])
        except csv.Error as error:
            raise InputError(f"{file.name}: the header cannot be read: {error}") from None
    names = [name.strip() for name in names]
    shown = ", ".join(names).encode("utf-8", "backslashreplace").decode()[:200]
    if not {"user_id", "metric"} & set(names):  # rows of units, or statistics of a metric
        hints = "".join(f"; {hint}" for hint in similar_columns(names))
        raise InputError(f"{file.name}: no column user_id in the header ({shown}){hints}")
    named = [name for name in names if name]
    if len(set(named)) != len(named):
        raise InputError(f"{file.name}: two columns have the same name ({shown})")
    return names, lines.offset, lines.line_number


def _csv_fields(lines: _Lines) -> Iterator[list[str] | csv.Error]:
    reader = csv.reader(iter(lines))
    while True:
        lines.taken.clear()
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _is_blank(file: Path) -> bool:
    with file.open("rb") as stream:
        return not any(line.removeprefix(b"\xef\xbb\xbf").strip() for line in stream)


def _locate_csv(file: Path) -> Iterator[tuple[int, int]]:
    if _is_blank(file):  # a day without events need not even have a header
        return
    _, offset, line_number = _header(file)
    if not _has_quotes(file):  # then a line is a row
        yield from ((at, line) for at, line in _locate_json(file) if line >= line_number)
        return
    with file.open("rb") as stream:
        stream.seek(offset)
        lines = _Lines(stream, line_number)
        before = lines.offset, lines.line_number
        for _ in _csv_fields(lines):
            yield before
            before = lines.offset, lines.line_number


def _has_quotes(file: Path) -> bool:
    with file.open("rb") as stream:
        return any(b'"' in piece for piece in iter(lambda: stream.read(1 << 20), b""))


def _read_csv(file: Path, batch: Batch) -> Iterator[Record]:
    names, _, _ = _header(file)
    plain = _plain_lines(file, batch)
    if plain is not None:
        for line_number, line in enumerate(plain, start=batch.line_number + 1):
            yield line_number, _csv_row(names, line.split(",") if line else [], [])
        return
    with file.open("rb") as stream:
        stream.seek(batch.offset)
        lines = _Lines(stream, batch.line_number)
        fields = _csv_fields(lines)
        for _ in range(batch.row_count):
            line_number = lines.line_number + 1
            values = next(fields)
            yield line_number, _csv_row(names, values, lines.taken)


def _plain_lines(file: Path, batch: Batch) -> list[str] | None:
    """Lines of a batch in which a line is a row, and a comma ends a field; None for another."""
    with file.open("rb") as stream:
        stream.seek(batch.offset)
        data = stream.read(batch.byte_count).replace(b"\r\n", b"\n")
    if b'"' in data or b"\r" in data:
        return None
    try:
        lines = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None
    return lines if max(map(len, lines)) < csv.field_size_limit() else None


def _csv_row(names: list[str], values: list[str] | csv.Error, taken: list[str]) -> Any:
    if isinstance(values, csv.Error):
        message = f"the row cannot be read as CSV: {values}"
        return BrokenRow("broken-row", message, "".join(taken))
    if not values:
        return None
    if len(values) != len(names):
        message = f"{len(values)} fields where the header has {len(names)}"
        return BrokenRow("broken-row", message, values)
    return dict(zip(names, values, strict=True))


def _locate_json(file: Path) -> Iterator[tuple[int, int]]:
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream):
            yield offset, number
            offset += len(line)


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
        found = parse_json(line)
    except ValueError:
        return BrokenRow("broken-row", "the line is not JSON, or nested too deeply", line)
    if not isinstance(found, dict):
        return BrokenRow("broken-row", "the line is not a JSON object", line)
    return found


def _locate_parquet(file: Path) -> Iterator[tuple[int, int]]:
    from pyarrow import parquet

    with _as_parquet(file):
        count = parquet.ParquetFile(file).metadata.num_rows
    return ((0, row) for row in range(count))


def _read_parquet(file: Path, batch: Batch) -> Iterator[Record]:
    from pyarrow import parquet

    position, last = 0, batch.first_row + batch.row_count
    with _as_parquet(file):
        for piece in parquet.ParquetFile(file).iter_batches():
            start, stop = max(batch.first_row - position, 0), min(last - position, piece.num_rows)
            if start < stop:
                rows = _parquet_rows(piece.slice(start, stop - start))
                yield from enumerate(rows, start=position + start + 1)
            position += piece.num_rows
            if position >= last:
                return


def _parquet_rows(piece: Any) -> list[Any]:
    try:
        return list(piece.to_pylist())
    except (ValueError, OverflowError) as error:  # a date that Python does not know
        if piece.num_rows > 1:
            return [row for n in range(piece.num_rows) for row in _parquet_rows(piece.slice(n, 1))]
        columns = zip(piece.schema.names, piece.columns, strict=True)
        raw = {name: _shown(column[0]) for name, column in columns}
        return [BrokenRow("broken-row", f"the row cannot be read: {error}", raw)]


def _shown(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return scalar.value  # the number that stands for it


@contextmanager
def _as_parquet(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.name} cannot be read as Parquet: {error}") from None


class Format(NamedTuple):
    """How one kind of file is read."""

    locate: Callable[[Path], Iterator[tuple[int, int]]]  # byte and lines before, of each row
    read: Callable[[Path, Batch], Iterator[Record]]


FORMATS = {
    ".csv": Format(_locate_csv, _read_csv),
    ".jsonl": Format(_locate_json, _read_json),
    ".ndjson": Format(_locate_json, _read_json),
    ".parquet": Format(_locate_parquet, _read_parquet),
}
