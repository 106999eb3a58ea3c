"""Alembic's configuration (`[tool.alembic]` in pyproject.toml), for use from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Connection

from tasks import schema
from tasks.migrations.history import Occasion

ROOT = Path(__file__).resolve().parents[2]


def load(connection: Connection | None = None, occasion: Occasion | None = None) -> Config:
    """The configuration; `env.py` uses the connection and records the occasion if given."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    if connection is not None:
        config.attributes["connection"] = connection
    if occasion is not None:
        config.attributes["occasion"] = occasion
    return config


def comparison_options() -> dict[str, Any]:
    """How a database is compared with `tasks.schema`: types and defaults too."""
    return {
        "target_metadata": schema.metadata,
        "compare_type": True,
        "compare_server_default": True,
        "include_schemas": False,
        "include_object": _is_ours,
    }


def _is_ours(
    _item: Any, _name: str | None, kind: str, is_reflected: bool, compared_to: Any
) -> bool:
    # Other applications' tables may live in the same schema; they are not ours to report or drop.
    return not (kind == "table" and is_reflected and compared_to is None)
