"""How long a version that does harm stays, where the whole stack runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sqlalchemy import Engine, text

from tasks import embedded
from tasks.database import create_engine
from tasks.rollouts.changes import manual
from tasks.rollouts.definition.plan import RolloutPlan

BAR_SECONDS = 30.0
_PATIENCE_SECONDS = 120.0
_STANDING = text(
    "SELECT r.percentage, r.state, c.actor FROM rollout r JOIN rollout_change c "
    "ON c.rollout_id = r.id WHERE r.name = 'harmful' ORDER BY c.id DESC LIMIT 1"
)


def a_bad_sample_takes_a_version_to_nobody(home: Path) -> None:
    """Start a rollout, commit a bad sample, and wait until the watcher has rolled it back."""
    server = embedded.start(home / "postgres")
    engine = create_engine(server.url())
    try:
        seconds = _seconds_to_nobody(engine)
    finally:
        engine.dispose()
        server.close()
    assert seconds is not None, (home / "prefect" / "watch.log").read_text()
    # The bar holds where a core is free: the run starts a process of its own.
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert seconds <= (_PATIENCE_SECONDS if is_busy else BAR_SECONDS)


def _seconds_to_nobody(engine: Engine) -> float | None:
    with engine.begin() as tx:
        plan = RolloutPlan(name="harmful", model_version="harmful-v2")
        manual.start(tx, plan, "ada", "a test")
    with engine.begin() as tx:
        tx.execute(text("SELECT record_health_sample('harmful-v2', 'error_rate', 80, 1000)"))
    since = time.monotonic()
    while (seconds := time.monotonic() - since) < _PATIENCE_SECONDS:
        with engine.connect() as connection:
            if tuple(connection.execute(_STANDING).one()) == (0.0, "rolled_back", "headway watch"):
                return seconds
        time.sleep(0.2)
    return None
