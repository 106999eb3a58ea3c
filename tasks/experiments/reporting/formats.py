"""A report as markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
from typing import Any, Literal, Protocol, get_args

from pydantic import BaseModel
from pydantic_core import to_json

Format = Literal["markdown", "json", "csv"]
FORMATS: tuple[str, ...] = get_args(Format)


class Report(Protocol):
    """What every report can say of itself."""

    def as_markdown(self) -> str:
        """A page with pictures, for people."""
        ...

    def csv_rows(self) -> list[dict[str, Any]]:
        """Its figures as flat rows with the same fields."""
        ...


def rendered(report: Report, form: str) -> str:
    """Write a report in one of the FORMATS; JSON holds everything, CSV the figures."""
    if form == "markdown":
        return report.as_markdown()
    if form == "csv":
        return as_csv(report.csv_rows())
    return as_json(report)


def as_json(report: Any) -> str:
    """One JSON document; what JSON has no number for is a string, as in the ledger."""
    value = report.model_dump() if isinstance(report, BaseModel) else report
    return to_json(value, indent=2, inf_nan_mode="strings", fallback=str).decode()


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows with the fields of the first one; unknown is empty."""
    written = io.StringIO()
    if rows:
        writer = csv.DictWriter(written, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return written.getvalue()
