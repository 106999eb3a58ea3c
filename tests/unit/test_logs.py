"""Logs go to stderr, for people or as JSON lines; stdout is for results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tasks import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("headway")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO")
    logging.getLogger("headway.step").info("naïve %s\nline", "x")
    try:
        raise ValueError("oh")
    except ValueError:
        logging.getLogger("headway").exception("broke")
    captured = capsys.readouterr()
    first, second = map(json.loads, captured.err.splitlines())
    assert captured.out == ""
    assert (first["level"], first["logger"]) == ("info", "headway.step")
    assert first["message"] == "naïve x\nline"
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
    assert second["error"].endswith("ValueError: oh")


def test_people_get_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("human", "WARNING")
    logging.getLogger("headway.run").warning("look %s", "here")
    logging.getLogger("headway.run").info("unseen")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("WARNING look here\n")
    assert "unseen" not in captured.err


def test_configuring_twice_says_things_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("human", "INFO")
    logs.configure("json", "INFO")
    logging.getLogger("headway").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_other_loggers_stay_as_they_are() -> None:
    root, prefect = logging.getLogger(), logging.getLogger("prefect")
    before = (root.handlers[:], root.level, prefect.handlers[:], prefect.disabled)
    logs.configure("json", "DEBUG")
    assert (root.handlers[:], root.level, prefect.handlers[:], prefect.disabled) == before
