"""The rules by theme; importing this package registers them all."""

from __future__ import annotations

from tasks.migrations.hazards.rules import (
    constraints,
    data,
    drops,
    enums,
    indexes,
    locks,
    partitions,
    renames,
    revision_file,
    security,
    transactions,
    types,
    values,
)

__all__ = [
    "constraints",
    "data",
    "drops",
    "enums",
    "indexes",
    "locks",
    "partitions",
    "renames",
    "revision_file",
    "security",
    "transactions",
    "types",
    "values",
]
