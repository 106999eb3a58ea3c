"""The unit tests themselves: they need neither database nor Prefect (see conftest.py)."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.database import create_engine

ROOT = Path(__file__).parents[2]
MODULES = sorted(f"tests.unit.{path.stem}" for path in Path(__file__).parent.glob("test_*.py"))


def test_no_unit_test_imports_prefect() -> None:
    # In a process of its own: other tiers import it into this one.
    script = (
        "import gc, sys; from importlib import import_module\n"
        "gc.disable()\n"  # there is no garbage, but much to look through
        "for name in sys.argv[1:]:\n"
        "    import_module(name)\n"
        "    assert 'prefect' not in sys.modules, f'{name} imports Prefect'\n"
    )
    command = [sys.executable, "-c", script, *MODULES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_unit_test_that_asks_a_database_or_a_server_fails() -> None:
    with pytest.raises(RuntimeError, match="need nothing outside"):
        create_engine("postgresql://localhost/headway").connect()
    with socket.socket() as client, pytest.raises(RuntimeError, match="need nothing outside"):
        client.connect(("127.0.0.1", 4200))
