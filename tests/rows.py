"""What a query gives, for tests that look into the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text


def rows_of(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    """Read rows as plain tuples."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
