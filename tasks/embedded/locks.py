"""File locks of the kernel (`flock`): gone with the process that held them, SIGKILL included."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import EmbeddedPostgresError

_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 90.0


def open_lock(path: Path) -> int:
    """A file descriptor to lock on; child processes do not inherit it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, how: int) -> bool:
    """Take the lock if nobody is in the way."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """True while some process holds the lock on this file."""
    descriptor = open_lock(path)
    try:
        return not try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def wait_for_lock(path: Path, how: int, waiting_for: str) -> int:
    """The descriptor that holds the lock; EmbeddedPostgresError if it takes too long."""
    descriptor = open_lock(path)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while not (is_ours := try_lock(descriptor, how)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    except BaseException:
        os.close(descriptor)
        raise
    if is_ours:
        return descriptor
    os.close(descriptor)
    raise EmbeddedPostgresError(
        f"gave up after {_PATIENCE_SECONDS:.0f} s of waiting for {waiting_for}; "
        f"see who holds {path} (`fuser -v {path}`) and end that process"
    )


@contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Hold the exclusive lock for the length of a block."""
    descriptor = wait_for_lock(path, fcntl.LOCK_EX, waiting_for)
    try:
        yield
    finally:
        os.close(descriptor)
