"""A row of a file of health samples: what it must hold, and why it does not."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from tasks.errors import InputError, Reason

MOST_COUNTED = 2**53


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 - pydantic's way
    return value


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds characters that are not valid text")
    return text


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_storable)]
Number = Annotated[float, BeforeValidator(_no_flag)]


class SampleRow(BaseModel):
    """One sample: ``value_sum`` over ``sample_count``, or without a count a value as it is.

    ``value_sum`` may be called ``value``. NaN and infinities are taken: they make the check that
    reads them inconclusive, which a row that is left out would not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_version: Name
    metric: Name
    value_sum: Number
    sample_count: Annotated[int, BeforeValidator(_no_flag), Field(ge=0, le=MOST_COUNTED)] | None = (
        None
    )
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


class Parsed(NamedTuple):
    """A line of a file: its sample, or why it is none."""

    line: int
    raw: Any
    sample: SampleRow | None
    problem: Reason | None


def parsed_rows(path: Path) -> Iterator[Parsed]:
    """Every row of a CSV file with a header, or of JSON lines (.jsonl, .ndjson), in its order.

    InputError for a file that cannot be read at all.
    """
    read = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path} is no file of samples: it must end in .csv, .jsonl or .ndjson")
    try:
        yield from read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path} is no CSV: {error}") from None


def _csv_rows(path: Path) -> Iterator[Parsed]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="more columns than the header")
        for row in rows:
            yield _parsed(rows.line_num, row)


def _json_rows(path: Path) -> Iterator[Parsed]:
    with path.open(encoding="utf-8-sig") as file:
        for line, words in enumerate(file, start=1):
            if not words.strip():
                continue
            said = words.rstrip("\n")
            try:
                row = json.loads(said)
            except (ValueError, RecursionError):
                yield Parsed(line, said, None, Reason("no-json", "it is no JSON"))
            else:
                # As it was written: what it means may be no text that can be kept.
                yield _parsed(line, row)._replace(raw=said)


def _parsed(line: int, row: Any) -> Parsed:
    try:
        return Parsed(line, row, SampleRow.model_validate(row), None)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        said = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ")
            for each in problems
        )
        codes = {"missing": "missing-value", "extra_forbidden": "unknown-column"}
        code = codes.get(problems[0]["type"], "bad-value")
        return Parsed(line, row, None, Reason(code, said.encode(errors="replace").decode()))
