"""The SQL that takes a schema from one fingerprint to another, as far as it can be written."""

from __future__ import annotations

from tasks.migrations.drift.ddl.statements import Ddl, write

__all__ = ["Ddl", "write"]
