"""Rows for COPY, read column by column: a value that comes often is read once.

The readers are those of a single row (`events.FIELDS`), so both ways accept the same rows. What
cannot be loaded is left to `parse_row`, which knows the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import NoneType
from typing import Any, NamedTuple

from tasks.experiments.ingestion.events import (
    FIELDS,
    Field,
    Row,
    experiment_of,
    kind_of,
    parse_row,
    rejected,
)
from tasks.experiments.ingestion.values import (
    MAX_NAME_LENGTH,
    MAX_USER_LENGTH,
    MAX_VALUE,
    BrokenRow,
    moment_of,
    name_of,
    number_of,
    text_of,
    user_of,
)

# Types of a column in which equal values mean the same: 1, 1.0 and True are equal, but not alike.
_ALIKE: tuple[set[type], ...] = tuple({kind, NoneType} for kind in (str, float, int, datetime))
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_NULL = r"\N"
_BROKEN = "\0"  # no kind is called that
_ODD = frozenset(" \\")
_DIGITS = frozenset("0123456789.-")
_CLOCK = frozenset("0123456789-T:Z")
_LONGEST = {user_of: MAX_USER_LENGTH, name_of: MAX_NAME_LENGTH}


class Records(NamedTuple):
    """Rows of a batch as their source gives them, and where each stood."""

    row_numbers: list[int]  # from 0, in the whole source
    line_numbers: list[int]
    raws: list[Any]  # a mapping, or BrokenRow


class Encoded(NamedTuple):
    """Rows of one kind as text for COPY."""

    columns: tuple[str, ...]
    text: str
    row_count: int


def encode(
    records: Records, experiment: str | None, fallback_id: Callable[[int], str]
) -> tuple[list[Encoded], list[tuple[int, Row]]]:
    """Good rows as text for COPY, and the others with their reason and their place.

    ``fallback_id`` gives the id of an event without one, by its place among the records.
    """
    kinds = _kinds(records.raws)
    broken = [place for place, kind in enumerate(kinds) if kind is None]
    good = []
    for kind, fields in FIELDS.items():
        places = [place for place, found in enumerate(kinds) if found == kind]
        if places:
            columns = _columns(records, places, fields, experiment, fallback_id)
            good.append(_encoded(records, kind, fields, places, columns))
            broken += _holes(places, columns)
    return good, [(place, _reject(records, place, experiment)) for place in sorted(broken)]


def _kinds(raws: Sequence[Any]) -> list[str | None]:
    """The kind of each row; None where it is broken."""
    said = [_BROKEN if type(raw) is BrokenRow else raw.get("kind") for raw in raws]
    types = [None if type(raw) is BrokenRow else raw.get("event_type") for raw in raws]
    pairs = list(zip(said, types, strict=True))
    if not set(map(type, said)) | set(map(type, types)) <= {str, NoneType}:
        return [_kind(pair) for pair in pairs]
    known = {pair: _kind(pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


def _kind(pair: tuple[Any, Any]) -> str | None:
    said, event_type = pair
    try:
        return kind_of(text_of(said, "kind"), lambda: event_type)
    except BrokenRow:
        return None


def _columns(
    records: Records,
    places: list[int],
    fields: tuple[Field, ...],
    experiment: str | None,
    fallback_id: Callable[[int], str],
) -> list[list[str | None]]:
    raws = [records.raws[place] for place in places]
    columns = []
    for field in fields:
        column = _column(field, [raw.get(field.column) for raw in raws], experiment)
        if field.target == "event_id" and _NULL in column:
            column = [
                _text(fallback_id(place)) if text == _NULL else text
                for place, text in zip(places, column, strict=True)
            ]
        columns.append(column)
    return columns


def _column(field: Field, values: list[Any], experiment: str | None) -> list[str | None]:
    """Each value as text for COPY; None where it is broken."""
    first = values[0]
    if type(first) in {str, NoneType} and values.count(first) == len(values):
        return [_cell(field, first, experiment)] * len(values)
    found = set(map(type, values))
    if not any(found <= alike for alike in _ALIKE):
        return [_cell(field, value, experiment) for value in values]
    if found == {str} and all(values) and _are_plain(field, values):
        return values
    known = {value: _cell(field, value, experiment) for value in set(values)}
    return [known[value] for value in values]


def _are_plain(field: Field, texts: list[str]) -> bool:
    """True if all of them are good as they stand, for COPY too: mostly they are."""
    together = "".join(texts)
    if not together.isascii() or not together.isprintable() or _ODD & set(together):
        return False
    if field.read in _LONGEST:
        return max(map(len, texts), default=0) <= _LONGEST[field.read]
    if field.read is moment_of:
        return _are_moments(texts, together)
    return field.read is text_of or (field.read is number_of and _are_numbers(texts, together))


def _are_moments(texts: list[str], together: str) -> bool:
    """True for times in the form of 2026-01-02T03:04:05Z, which Postgres reads the same way."""
    if not set(together) <= _CLOCK or {(len(text), text[10:11]) for text in texts} != {(20, "T")}:
        return False
    try:
        return all(moment.tzinfo is UTC for moment in map(datetime.fromisoformat, texts))
    except ValueError:
        return False


def _are_numbers(texts: list[str], together: str) -> bool:
    if not set(together) <= _DIGITS:
        return False
    try:
        return max(map(abs, map(float, texts)), default=0) <= MAX_VALUE
    except ValueError:
        return False


def _cell(field: Field, value: Any, experiment: str | None) -> str | None:
    try:
        found = field.value(value)
        if field.target == "experiment":
            found = experiment_of(found, experiment)
    except BrokenRow:
        return None
    return _text(found)


def _text(value: Any) -> str:
    if value is None:
        return _NULL
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _encoded(
    records: Records,
    kind: str,
    fields: tuple[Field, ...],
    places: list[int],
    columns: list[list[str | None]],
) -> Encoded:
    has_id = [str(bool(records.raws[place].get("event_id"))) for place in places]
    lines = [str(records.line_numbers[place]) for place in places]
    numbers = [str(records.row_numbers[place]) for place in places]
    rows: Iterator[Any] = zip(lines, numbers, [kind] * len(places), has_id, *columns, strict=True)
    if any(None in column for column in columns):
        rows = (row for row in rows if None not in row)
    whole = list(map("\t".join, rows))
    names = ("line_number", "row_number", "kind", "has_id", *(field.target for field in fields))
    return Encoded(names, "\n".join(whole), len(whole))


def _holes(places: list[int], columns: list[list[str | None]]) -> list[int]:
    found = {n for column in columns if None in column for n, v in enumerate(column) if v is None}
    return [places[n] for n in found]


def _reject(records: Records, place: int, experiment: str | None) -> Row:
    raw, line_number = records.raws[place], records.line_numbers[place]
    if isinstance(raw, BrokenRow):
        return rejected(raw, line_number)
    return parse_row(raw, line_number, experiment)
