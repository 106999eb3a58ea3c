"""Roll back without losing a row: what a downgrade takes away is archived, and comes back."""

from __future__ import annotations

from tasks.migrations.archive.clearing import archive_everything, find_everything, purge
from tasks.migrations.archive.copying import copy_bulk
from tasks.migrations.archive.enums import enum_usage, map_enum_values
from tasks.migrations.archive.keeping import archive, finish
from tasks.migrations.archive.model import (
    Archived,
    ArchivedPart,
    Effect,
    EnumUse,
    Restored,
    RestoredPart,
)
from tasks.migrations.archive.preparing import prepare
from tasks.migrations.archive.restoring import restore, restore_pending

__all__ = [
    "Archived",
    "ArchivedPart",
    "Effect",
    "EnumUse",
    "Restored",
    "RestoredPart",
    "archive",
    "archive_everything",
    "copy_bulk",
    "enum_usage",
    "find_everything",
    "finish",
    "map_enum_values",
    "prepare",
    "purge",
    "restore",
    "restore_pending",
]
