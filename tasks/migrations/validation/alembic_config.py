"""Alembic's configuration (`[tool.alembic]` in pyproject.toml), for use from Python."""

from __future__ import annotations

from typing import Any

from alembic.config import Config
from sqlalchemy import Connection

from tasks import schema
from tasks.migrations import project


def load(connection: Connection) -> Config:
    """The configuration of Alembic's own command line, for a connection that is open."""
    config = Config(toml_file=project.ROOT / "pyproject.toml")
    config.attributes["connection"] = connection
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
