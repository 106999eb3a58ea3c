"""An embedded Postgres: the binaries of a wheel, started and stopped by our own few lines.

Every process that uses it holds a shared lock on `users.lock`; the kernel lets go of it when the
process ends, however it ends. One detached watcher waits until nobody holds it, and stops it then.
"""

from __future__ import annotations

from tasks.embedded.server import EmbeddedServer, start

__all__ = ["EmbeddedServer", "start"]
