"""May a downgrade lose the rows that it would lose? Pure; `drops` finds out which."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.decisions import Verdict, rule
from tasks.errors import Reason


class Loss(BaseModel):
    """A table that goes, or a column that goes, and how many rows have something in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    column: str | None = None
    rows: int

    @property
    def place(self) -> str:
        """`table`, or `table.column`."""
        return self.table if self.column is None else f"{self.table}.{self.column}"


class LossEvidence(BaseModel):
    """What the downgrade of one revision would drop, and whether that was agreed to.

    ``is_known`` is false where the downgrade could not be tried out, so nothing was counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: str
    revision: str
    losses: tuple[Loss, ...]
    allow_data_loss: bool
    is_known: bool = True


@rule("rollback-losses", version=1)
def judge_losses(evidence: LossEvidence) -> Verdict:
    """Allowed if nothing with rows in it goes, or if losing them was agreed to."""
    lost = [loss for loss in evidence.losses if loss.rows > 0]
    if not evidence.is_known and not evidence.allow_data_loss:
        return Verdict(verdict="refused", reasons=(_unknown(evidence),))
    if not lost or evidence.allow_data_loss:
        return Verdict(verdict="allowed", details={"rows_lost": sum(loss.rows for loss in lost)})
    listed = ", ".join(f"{loss.place} ({loss.rows} rows)" for loss in lost)
    reason = Reason(
        "would-lose-rows",
        f"rolling back {evidence.revision} on {evidence.environment!r} would lose {listed}; "
        "save them first, or allow the loss (allow_data_loss)",
    )
    return Verdict(verdict="refused", reasons=(reason,))


def _unknown(evidence: LossEvidence) -> Reason:
    return Reason(
        "cannot-be-tried-out",
        f"the downgrade of {evidence.revision} commits while it runs (an autocommit block, for "
        "CONCURRENTLY, or a COMMIT), so it cannot be tried out first to count what it would lose; "
        "read it, then allow the loss (allow_data_loss)",
    )
