"""What a person says about a source: one model for each kind; never a secret."""

from __future__ import annotations

from abc import abstractmethod
from datetime import date
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, field_validator
from pydantic_core import to_json
from sqlalchemy import text

from tasks.foreign.judging import reading_query
from tasks.web.addresses import checked_url, without_query

BATCH_SIZE = 50_000
DAY = "{day}"

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000, description="rows to load at a time")]


def parameters_of(query: str) -> set[str]:
    """Names of the parameters that a query asks for, as :name."""
    return set(text(query).compile().params)


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: Annotated[str | None, Field(description="for rows that name no experiment")] = None
    day: Annotated[
        date | None,
        Field(description="the day to load, where the source asks for one; unset = yesterday"),
    ] = None

    @property
    @abstractmethod
    def label(self) -> str:
        """A name for people."""

    @property
    def asks_for_day(self) -> bool:
        """True if what it gives depends on the day."""
        return False

    @property
    def digest(self) -> str:
        """Tells it from others, in the key of a step."""
        return sha256(to_json(self)).hexdigest()[:16]


class _File(_Source):
    path: Annotated[Words, Field(description="as the worker sees it; {day} stands for the day")]
    batch_size: BatchSize = BATCH_SIZE

    @property
    def label(self) -> str:
        """Its path."""
        return self.path

    @property
    def asks_for_day(self) -> bool:
        """True if its path does."""
        return DAY in self.path

    def path_of(self, day: date | None) -> str:
        """Its path on that day."""
        return self.path.replace(DAY, day.isoformat()) if day else self.path


class FileSource(_File):
    """Assignments and events in a CSV, JSON lines or Parquet file."""

    kind: Literal["file"] = "file"


class AggregatesSource(_File):
    """Statistics that somebody else aggregated: one row an arm, metric and moment."""

    kind: Literal["aggregates"] = "aggregates"


class QuerySource(_Source):
    """Rows of a query on any database that SQLAlchemy reaches."""

    kind: Literal["query"] = "query"
    connection: Annotated[
        Words,
        Field(
            description="name of the environment variable that holds the URL, or of an environment"
        ),
    ]
    query: Annotated[
        Words, Field(description="one SELECT that only reads; :day is the day, bound as a date")
    ]
    parameters: Annotated[
        dict[str, str | int | float | bool | None], Field(description="bound to :name")
    ] = {}
    batch_size: BatchSize = BATCH_SIZE

    @field_validator("query")
    @classmethod
    def _only_reads(cls, query: str) -> str:
        return reading_query(query)

    @property
    def label(self) -> str:
        """Where it runs."""
        return f"query on {self.connection}"

    @property
    def asks_for_day(self) -> bool:
        """True if it names :day."""
        return "day" in parameters_of(self.query)


class PagesSource(_Source):
    """Pages of JSON from an HTTP interface."""

    kind: Literal["pages"] = "pages"
    url: Annotated[Words, Field(description="http or https; {day} stands for the day")]
    rows: Annotated[
        str, Field(description="JSON pointer to the array of rows; empty = the whole page")
    ] = ""
    next: Annotated[
        Literal["link", "pointer", "number", "none"],
        Field(
            description="where the next page is named: the Link header, a JSON pointer, by number"
        ),
    ] = "link"
    next_pointer: Annotated[str, Field(description="JSON pointer to the next URL or cursor")] = (
        "/next"
    )
    cursor_parameter: Annotated[
        str | None, Field(description="query parameter that takes the cursor; unset = it is a URL")
    ] = None
    page_parameter: Annotated[str, Field(description="query parameter that takes the number")] = (
        "page"
    )
    first_page: int = 1
    authorization_env: Annotated[
        str | None, Field(description="environment variable that holds the Authorization header")
    ] = None
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30
    max_bytes: Annotated[int, Field(ge=1, le=1 << 30, description="of one page")] = 50_000_000
    max_pages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    batch_size: BatchSize = BATCH_SIZE

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        return checked_url(url)

    @property
    def label(self) -> str:
        """Its address, without parameters: those may hold a secret."""
        return without_query(self.url)

    @property
    def asks_for_day(self) -> bool:
        """True if its address does."""
        return DAY in self.url


class OtherSource(_Source):
    """A source that another package registered."""

    kind: Literal["other"] = "other"
    name: Annotated[Words, Field(description="under which it is registered")]
    options: dict[str, JsonValue] = {}
    batch_size: BatchSize = BATCH_SIZE

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    @property
    def asks_for_day(self) -> bool:
        """True: what it makes of the day is its own affair."""
        return True


PieceSource = Annotated[QuerySource | PagesSource | OtherSource, Field(discriminator="kind")]
Source = Annotated[
    FileSource | AggregatesSource | QuerySource | PagesSource | OtherSource,
    Field(discriminator="kind"),
]
