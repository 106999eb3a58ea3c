"""What a database's schema is, as data: one dict per object, read from the catalogue."""

from __future__ import annotations

from tasks.migrations.fingerprint.compare import compare
from tasks.migrations.fingerprint.model import Difference, Fingerprint
from tasks.migrations.fingerprint.take import take

__all__ = ["Difference", "Fingerprint", "compare", "take"]
