"""How long working rows are kept."""

from __future__ import annotations

from pydantic import BaseModel

from tasks import markdown


class Purged(BaseModel):
    """Rows deleted, by table."""

    step: int
    step_attempt: int
    effect: int
    run: int
    waiting_event: int = 0  # each is a rejected row now
    touched_unit: int = 0
    health_check: int = 0
    health_sample: int = 0

    @property
    def summary(self) -> str:
        """One line."""
        return "deleted " + ", ".join(f"{count} {table}" for table, count in self)

    def as_markdown(self, days: int, waiting_days: int) -> str:
        """One table for the run's report."""
        rows = ((table, f"{count:,}") for table, count in self)
        return (
            f"## Working rows older than {days} days\n\n"
            f"{markdown.table(('table', 'deleted'), rows)}\n\n"
            "Decisions, migration history and steps that may happen only once are kept. Events "
            f"that waited {waiting_days} days for an assignment are in `rejected_row` now, reason "
            "`never-assigned`. Verdicts on the health of rollouts that the audit rests on stay."
        )
