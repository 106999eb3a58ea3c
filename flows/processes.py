"""Child processes of the local stack: they end with us, even when we are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import httpx

from tasks.errors import HeadwayError

ROOT = Path(__file__).resolve().parent.parent

_READY_SECONDS = 120.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.2
_PASSED_ON = ("PREFECT_", "LC_", "SSL_", "REQUESTS_", "NO_PROXY", "no_proxy")
_PASSED_ON_EXACTLY = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ"}


class StackError(HeadwayError):
    """A part of the local stack did not start, or ended by itself."""


def environment(home: Path) -> dict[str, str]:
    """What any child needs; other variables of the caller, secrets perhaps, are not passed on."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON_EXACTLY or name.startswith(_PASSED_ON)
    }
    return passed_on | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def run_module(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module that runs for the length of a block, and never longer than we live."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", module, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle, in our order
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, and then end whatever is left of its process group."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_ready(api_url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers; StackError with the end of its log if it does not."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{api_url}/ready", timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_SECONDS)
    end = log.read_text(errors="replace")[-2000:]
    raise StackError(f"the Prefect server did not start; the end of its log ({log}):\n{end}")


def watch(processes: Mapping[str, subprocess.Popen[bytes] | None]) -> None:
    """Return never: Ctrl-C ends it, or a part that ends by itself."""
    while True:
        for name, process in processes.items():
            if process is not None and process.poll() is not None:
                raise StackError(f"the {name} ended by itself; see its log")
        time.sleep(_POLL_SECONDS)


@contextmanager
def sigterm_means_stop() -> Iterator[None]:
    """SIGTERM and Ctrl-C alike raise KeyboardInterrupt, once."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # A second one must not interrupt the stopping.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def free_port(preferred: int) -> int:
    """The preferred port of 127.0.0.1, or a free one if somebody has it."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError("there is no free port on 127.0.0.1")
