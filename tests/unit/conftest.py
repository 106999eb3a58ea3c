"""A unit test that reaches for a database, a network or Prefect fails, whoever runs it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, NoReturn

import psycopg
import pytest


class _NoPrefect(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname.partition(".")[0] == "prefect":
            raise ImportError("unit tests need no Prefect; move this one to tests/flows")


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("unit tests need nothing outside their process; move this one")


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, and no Prefect but what other tiers have imported into this process."""
    monkeypatch.setattr(sys, "meta_path", [_NoPrefect(), *sys.meta_path])
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    monkeypatch.setattr(psycopg, "connect", _refuse)
    monkeypatch.setattr(psycopg.Connection, "connect", _refuse)
