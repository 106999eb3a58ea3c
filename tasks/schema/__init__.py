"""The one description of the application's tables; Alembic compares it with the database.

Times are timestamptz, fractions lie in 0..1, ids are made by Postgres. Every default is the
server's, so a row written by hand and one written by Headway are alike. Revisions in
`migrations/versions` do not import this package: they say what was true when they were written.
"""

from __future__ import annotations

from tasks.schema import (
    ab_testing,
    adaptive,
    alerts,
    experiments,
    ingestion,
    notifications,
    planning,
    rollouts,
    serving,
    statistics,
)
from tasks.schema.columns import metadata

__all__ = [
    "ab_testing",
    "adaptive",
    "alerts",
    "experiments",
    "ingestion",
    "metadata",
    "notifications",
    "planning",
    "rollouts",
    "serving",
    "statistics",
]
