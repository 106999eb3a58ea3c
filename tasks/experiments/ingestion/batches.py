"""A batch is loaded once: its content makes it known when it comes again, in whatever run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.runs import current_run

QUERIES = load_queries(__package__)
# Reasons that may have gone by the time the same content comes again.
RETRIED = [
    "unknown-experiment",
    "unknown-variant",
    "unknown-epoch",
    "unknown-metric",
    "future-timestamp",
    "suite-failed",
    "unassigned-user",  # written by earlier versions, when no event waited
]


@dataclass(frozen=True, slots=True)
class Content:
    """Which rows of which content a batch holds: by this it is known when it comes again."""

    source: str  # where it came from, for people
    sha256: str
    number: int
    first_row: int
    row_count: int
    experiment: str | None = None
    origin: str = "file"  # `source` of events that name none

    @property
    def key(self) -> dict[str, Any]:
        """Parameters that find the batch again."""
        return {
            "sha256": self.sha256,
            "experiment": self.experiment or "",
            "first_row": self.first_row,
            "row_count": self.row_count,
            "retried": RETRIED,
        }


def once(tx: Connection, content: Content, load: Callable[[], IngestedBatch]) -> IngestedBatch:
    """Load a batch, unless it was loaded before and no rejected row of it may fit by now.

    What ``load`` rejects it leaves in `incoming_row`.
    """
    tx.execute(QUERIES["lock_content"], content.key)
    known = tx.execute(QUERIES["find_batch"], content.key).first()
    if known is not None and not known.may_fit_now:
        return _known_batch(tx, content.number, known)
    loaded = load()
    if loaded.rejected:
        said = {row.reason_code: row.message for row in tx.execute(QUERIES["example_rejections"])}
        loaded = loaded.model_copy(update={"examples": said})
    if known is None:
        keep_batch(tx, content, loaded)
    return loaded


def keep_batch(tx: Connection, content: Content, loaded: IngestedBatch) -> None:
    """Record the batch, and the rows of it that were rejected."""
    counts = loaded.model_dump(
        include={"assignments", "events", "corrected", "duplicates", "waiting", "rejected"}
    )
    counts["events"] += loaded.statistics
    described = {"source": content.source, "batch_number": content.number}
    run = {"run_id": current_run().id}
    batch_id = tx.scalar(QUERIES["record_batch"], content.key | counts | described | run)
    tx.execute(QUERIES["keep_rejected"], content.key | {"batch_id": batch_id})


def _known_batch(tx: Connection, number: int, known: Any) -> IngestedBatch:
    """What the batch came to when it was loaded before."""
    kept = tx.execute(QUERIES["kept_rejections"], {"batch_id": known.id}).all()
    counts: Mapping[str, int] = {
        name: getattr(known, f"{column}_count")
        for name, column in {
            "assignments": "assignment",
            "events": "event",
            "corrected": "corrected",
            "duplicates": "duplicate",
            "waiting": "waiting",
            "rejected": "rejected",
        }.items()
    }
    return IngestedBatch(
        number=number,
        rows=sum(counts.values()),
        reasons={row.reason_code: row.rows for row in kept},
        examples={row.reason_code: row.message for row in kept},
        run_id=known.run_id,
        **counts,
    )
