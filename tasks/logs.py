"""Logging of the command line: the standard library's, to stderr, for people or as JSON lines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message and, if any, the error."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(form: Literal["human", "json"], level: str) -> None:
    """Send Headway's logs to stderr; stdout is for results. Called by the command line only.

    Only the logger `headway` is configured: Prefect's own logging stays as it is.
    """
    handler = logging.StreamHandler(sys.stderr)
    human = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if form == "json" else human)
    logger = logging.getLogger("headway")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
