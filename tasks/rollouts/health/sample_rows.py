"""A row of a file of health samples: what it must hold, and why it does not."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tasks.errors import InputError, Reason
from tasks.misfits import problems
from tasks.rollouts.health.possible import impossible

MOST_COUNTED = 2**53
TOLERANCE = timedelta(minutes=5)
"""How far an application's clock may go ahead of the database's."""
_CODES = {
    "extra_forbidden": "unknown-column",
    "finite_number": "not-finite",
    "impossible_value": "impossible-value",
    "missing": "missing-value",
    "no_zone": "no-zone",
}
_WRONG = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of such bytes
_SHOWN = 10


def _no_other(value: Any, info: ValidationInfo) -> Any:
    """Text is a number in a CSV alone, which has nothing else."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 - pydantic's way
    if isinstance(value, str) and not (info.context or {}).get("is_csv"):
        raise ValueError("a number, not text")
    return value


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds characters that are not valid text")
    return text


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise PydanticCustomError("no_zone", "it has no zone; write Z or +01:00 after it")
    return moment


Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]
Number = Annotated[float, BeforeValidator(_no_other), Field(allow_inf_nan=False)]


class SampleRow(BaseModel):
    """One sample: ``value_sum`` over ``sample_count``, or without a count a value as it is.

    ``value_sum`` may be called ``value``. What cannot be is refused, see `possible`; so is a time
    without a zone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_version: Name
    metric: Name
    value_sum: Number
    sample_count: (
        Annotated[int, BeforeValidator(_no_other), Field(ge=0, le=MOST_COUNTED)] | None
    ) = None
    square_sum: Annotated[Number, Field(ge=0)] | None = None
    observed_at: Annotated[datetime, AfterValidator(_aware)] | None = None
    source: Name = "file"
    event_id: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _said_otherwise(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            raise ValueError("a row is an object with named values")  # noqa: TRY004 - pydantic's way
        told = {name: value for name, value in row.items() if value not in (None, "")}
        if "value" in told and "value_sum" not in told:
            told["value_sum"] = told.pop("value")
        return told

    @model_validator(mode="after")
    def _can_be(self) -> SampleRow:
        told = impossible(self.metric, self.value_sum, self.sample_count, self.square_sum)
        if told is not None:
            raise PydanticCustomError("impossible_value", "{told}", {"told": told})
        return self


def not_yet(sample: SampleRow, now: datetime) -> Reason | None:
    """Why a sample cannot have been observed; None if it can."""
    if sample.observed_at is None or sample.observed_at <= now + TOLERANCE:
        return None
    minutes = TOLERANCE.total_seconds() / 60
    message = f"observed_at: it is more than {minutes:g} minutes after now, {now.isoformat()}"
    return Reason("in-the-future", message)


def misfit(error: ValidationError) -> Reason:
    """Why something is no sample."""
    first = error.errors(include_url=False, include_input=False)[0]["type"]
    said = problems(error, SampleRow).encode(errors="replace").decode()
    return Reason(_CODES.get(first, "bad-value"), said)


class Parsed(NamedTuple):
    """A line of a file: its sample, or why it is none."""

    line: int
    raw: Any
    sample: SampleRow | None
    problem: Reason | None


def parsed_rows(path: Path) -> Iterator[Parsed]:
    """Every row of a CSV file with a header, or of JSON lines (.jsonl, .ndjson), in its order.

    A row that is no UTF-8 is one that does not fit. InputError for a file that cannot be read at
    all, or whose header is no UTF-8.
    """
    read = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path} is no file of samples: it must end in .csv, .jsonl or .ndjson")
    try:
        yield from read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}") from None


def _csv_rows(path: Path) -> Iterator[Parsed]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        wrong: list[str] = []
        rows = csv.DictReader(_readable(file, wrong), restkey="more columns than the header")
        if rows.fieldnames and wrong:
            raise InputError(f"the header of {path} is not UTF-8; save the file as UTF-8")
        while (row := _next(rows)) is not None:
            if isinstance(row, csv.Error):
                yield Parsed(rows.reader.line_num, None, None, Reason("no-csv", str(row)))
            else:
                yield (
                    _no_text(rows.line_num, row, wrong)
                    if wrong
                    else _parsed(rows.line_num, row, is_csv=True)
                )
            wrong.clear()


def _next(rows: csv.DictReader[str]) -> dict[str, Any] | csv.Error | None:
    """The next row, or why it is none; None at the end."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return error


def _json_rows(path: Path) -> Iterator[Parsed]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        wrong: list[str] = []
        for line, words in enumerate(_readable(file, wrong), start=1):
            if words.strip():
                yield _json_row(line, words.rstrip("\n"), wrong)
            wrong.clear()


def _json_row(line: int, said: str, wrong: list[str]) -> Parsed:
    if wrong:
        return _no_text(line, said, wrong)
    try:
        row = json.loads(said)
    except (ValueError, RecursionError):
        return Parsed(line, said, None, Reason("no-json", "it is no JSON"))
    # As it was written: what it means may be no text that can be kept.
    return _parsed(line, row)._replace(raw=said)


def _readable(lines: Iterable[str], wrong: list[str]) -> Iterator[str]:
    """The lines, bytes that are no UTF-8 written out (``\\xff``); ``wrong`` takes those."""

    def written_out(found: re.Match[str]) -> str:
        wrong.append(f"\\x{ord(found[0]) - 0xDC00:02x}")
        return wrong[-1]

    for line in lines:
        yield _WRONG.sub(written_out, line)


def _no_text(line: int, row: Any, wrong: list[str]) -> Parsed:
    message = f"it is no UTF-8: {' '.join(wrong[:_SHOWN])}"
    return Parsed(line, row, None, Reason("no-utf-8", message))


def _parsed(line: int, row: Any, *, is_csv: bool = False) -> Parsed:
    try:
        sample = SampleRow.model_validate(row, context={"is_csv": is_csv})
    except ValidationError as error:
        return Parsed(line, row, None, misfit(error))
    return Parsed(line, row, sample, None)
