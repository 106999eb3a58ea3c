"""What a run leaves for a person to read in Prefect's UI; nothing where Prefect is not running."""

from __future__ import annotations

import re
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext


def publish_report(key: str, markdown: str, description: str | None = None) -> None:
    """Leave a markdown artifact; runs with the same key make up its history."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(markdown, key=_artifact_key(key), description=description)


def publish_table(key: str, rows: list[dict[str, Any]], description: str | None = None) -> None:
    """Leave a table artifact, one dictionary a row."""
    if FlowRunContext.get() is not None:
        create_table_artifact(rows, key=_artifact_key(key), description=description)


def _artifact_key(key: str) -> str:
    # Prefect takes lower-case letters, digits and dashes only.
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
