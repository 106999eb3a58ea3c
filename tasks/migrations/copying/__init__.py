"""Copy a database that is in use into a scratch one: from one snapshot, without writing to it."""

from __future__ import annotations

from tasks.migrations.copying.copy import Copied, copy_database

__all__ = ["Copied", "copy_database"]
