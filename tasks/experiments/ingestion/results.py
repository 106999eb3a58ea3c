"""What became of the rows that were loaded, as the flow and the report see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class IngestedBatch(BaseModel):
    """What became of the rows of one batch; duplicates changed nothing."""

    model_config = ConfigDict(frozen=True)

    number: int
    rows: int
    assignments: int
    events: int
    duplicates: int
    rejected: int
    reasons: dict[str, int] = {}
    run_id: str  # the run that loaded it, this one or an earlier one


class Ingested(BaseModel):
    """What became of a whole file."""

    model_config = ConfigDict(frozen=True)

    path: str
    batches: int
    known_batches: int
    rows: int
    assignments: int
    events: int
    duplicates: int
    rejected: int
    reasons: dict[str, int]

    @property
    def is_known(self) -> bool:
        """True if every batch had been loaded before: nothing was done now."""
        return 0 < self.batches == self.known_batches

    @classmethod
    def of(cls, path: str, batches: Sequence[IngestedBatch], run_id: str) -> Ingested:
        """Add up the batches of a file; those of another run than ``run_id`` were known."""
        reasons: Counter[str] = Counter()
        for batch in batches:
            reasons.update(batch.reasons)
        return cls(
            path=path,
            batches=len(batches),
            known_batches=sum(batch.run_id != run_id for batch in batches),
            rows=sum(batch.rows for batch in batches),
            assignments=sum(batch.assignments for batch in batches),
            events=sum(batch.events for batch in batches),
            duplicates=sum(batch.duplicates for batch in batches),
            rejected=sum(batch.rejected for batch in batches),
            reasons=dict(reasons),
        )

    @property
    def summary(self) -> str:
        """One line."""
        if self.is_known:
            return f"{self.path}: nothing to do; it was loaded before"
        if not self.rows:
            return f"{self.path}: it holds no rows"
        why = ", ".join(f"{code} {rows}" for code, rows in sorted(self.reasons.items()))
        return (
            f"{self.path}: {self.assignments} assignments and {self.events} events are new, "
            f"{self.duplicates} were known, {self.rejected} rejected" + f" ({why})" * bool(why)
        )

    def as_markdown(self) -> str:
        """Write what was loaded, and what was not and why."""
        known = self.known_batches
        found = f" {known} of the batches had been loaded before and were left alone." * (known > 0)
        kept = " Rejected rows are in table `rejected_row`:" * (self.rejected > 0)
        reasons = "".join(f"\n- {rows} × `{code}`" for code, rows in sorted(self.reasons.items()))
        return (
            f"# Loaded {self.path}\n\n{self.rows} rows in {self.batches} batches: "
            f"{self.assignments} assignments, {self.events} events, {self.duplicates} duplicates, "
            f"{self.rejected} rejected.{found}{kept}\n{reasons}\n"
        )
