"""The step that loads health samples."""

from __future__ import annotations

from sqlalchemy import Connection

from tasks.ledger import step
from tasks.rollouts.health.loading import LoadedSamples, load_samples


@step(key="{path}")
def load_health_samples(tx: Connection, path: str) -> LoadedSamples:
    """Load the health samples of a file, each once; rows that do not fit are kept with a reason."""
    return load_samples(tx, path)
