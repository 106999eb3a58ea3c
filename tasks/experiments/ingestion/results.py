"""What became of the rows that were loaded, as the flow and the report see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tasks.errors import Reason, Refused

_COUNTS = (
    "rows",
    "assignments",
    "events",
    "corrected",
    "duplicates",
    "waiting",
    "released",
    "statistics",
    "rejected",
)

_ALWAYS = {"assignments", "events", "duplicates", "rejected"}
_WORDS = {
    "waiting": "waiting for their assignment",
    "released": "that had waited",
}
_LIST_THEM = "`headway experiment rejected`"


class IngestedBatch(BaseModel):
    """What became of the rows of one batch; duplicates changed nothing."""

    model_config = ConfigDict(frozen=True)

    number: int
    rows: int
    assignments: int = 0
    events: int = 0
    corrected: int = 0  # events that were known and say something else now
    duplicates: int = 0
    waiting: int = 0  # events whose unit is not assigned yet
    released: int = 0  # events of earlier batches that waited for an assignment of this one
    statistics: int = 0  # aggregates of others, new or replaced
    rejected: int = 0
    reasons: dict[str, int] = {}
    examples: dict[str, str] = {}  # for each reason what was said of the first row
    hints: tuple[str, ...] = ()  # columns that are not read, where one that is needed is missing
    warnings: tuple[str, ...] = ()
    run_id: str  # the run that loaded it, this one or an earlier one


class Ingested(BaseModel):
    """What became of a whole source."""

    model_config = ConfigDict(frozen=True)

    path: str  # the file, or a name for another source
    batches: int
    known_batches: int
    rows: int
    assignments: int
    events: int
    corrected: int = 0
    duplicates: int
    waiting: int = 0
    released: int = 0
    statistics: int = 0
    rejected: int
    reasons: dict[str, int]
    examples: dict[str, str] = {}
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

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
        counts = {name: sum(getattr(batch, name) for batch in batches) for name in _COUNTS}
        return cls(
            path=path,
            batches=len(batches),
            known_batches=sum(batch.run_id != run_id for batch in batches),
            reasons=dict(reasons),
            examples={
                code: said for batch in reversed(batches) for code, said in batch.examples.items()
            },
            hints=tuple(dict.fromkeys(each for batch in batches for each in batch.hints)),
            warnings=tuple(dict.fromkeys(each for batch in batches for each in batch.warnings)),
            **counts,
        )

    def require_some_use(self) -> None:
        """Refuse a source of which every row was rejected: nobody should take it for loaded."""
        if self.rejected == 0 or self.rejected < self.rows:
            return
        reasons = [
            Reason(code, f"{rows} rows; the first: {self.examples.get(code, 'see below')}")
            for code, rows in sorted(self.reasons.items())
        ] or [Reason("all-rejected", f"{self.rejected} rows")]
        hints = [Reason("unread-column", hint) for hint in self.hints]
        kept = Reason("rows-kept", f"all {self.rejected} rows are kept; {_LIST_THEM} lists them")
        raise Refused(f"loading {self.path}", [*reasons, *hints, kept])

    @property
    def summary(self) -> str:
        """One line."""
        if self.is_known:
            return f"{self.path}: nothing to do; it was loaded before"
        if not self.rows:
            return f"{self.path}: it holds no rows"
        why = ", ".join(f"{code} {rows}" for code, rows in sorted(self.reasons.items()))
        rare = f"{self.corrected} corrected, " * (self.corrected > 0)
        rare += f"{self.waiting} wait for their assignment, " * (self.waiting > 0)
        rare += f"{self.released} had waited, " * (self.released > 0)
        return (
            f"{self.path}: {self._new} new, {rare}"
            f"{self.duplicates} were known, {self.rejected} rejected"
            + f" ({why}); {_LIST_THEM} lists them" * bool(why)
            + "".join(f"; {hint}" for hint in self.hints)
        )

    @property
    def _new(self) -> str:
        if self.statistics:
            return f"{self.statistics} statistics are"
        return f"{self.assignments} assignments and {self.events} events are"

    def as_markdown(self) -> str:
        """Write what was loaded, and what was not and why."""
        known = self.known_batches
        found = f" {known} of the batches had been loaded before and were left alone." * (known > 0)
        kept = f" Rejected rows are in table `rejected_row` ({_LIST_THEM} lists them):" * (
            self.rejected > 0
        )
        reasons = "".join(f"\n- {rows} × `{code}`" for code, rows in sorted(self.reasons.items()))
        reasons += "".join(f"\n- {hint}" for hint in self.hints)
        warnings = "".join(f"\n- warning: not every batch keeps “{w}”" for w in self.warnings)
        shown = (name for name in _COUNTS[1:] if getattr(self, name) or name in _ALWAYS)
        counts = ", ".join(f"{getattr(self, name)} {_WORDS.get(name, name)}" for name in shown)
        return (
            f"# Loaded {self.path}\n\n{self.rows} rows in {self.batches} batches: "
            f"{counts}.{found}{kept}\n{reasons}{warnings}\n"
        )
