"""Load health samples from a file: each row once, and what does not fit is kept with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import file_digest
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field
from sqlalchemy import Connection

from tasks import clock, jsonb
from tasks.database import load_queries
from tasks.errors import InputError, Reason
from tasks.rollouts.health.sample_rows import Parsed, SampleRow, misfit, not_yet, parsed_rows

QUERIES = load_queries(__package__, "loading.sql")
_AT_ONCE = 5000
_SHOWN = 20


class Rejected(BaseModel):
    """A row that did not fit."""

    model_config = ConfigDict(frozen=True)

    line: int
    code: str
    message: str


class LoadedSamples(BaseModel):
    """What became of a file; ``first_rejected`` shows some of the rows that did not fit."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    loaded: int
    rejected: dict[str, int]
    first_rejected: tuple[Rejected, ...]

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's own documentation has it
    @property
    def known(self) -> int:
        """Rows that were there before."""
        return self.rows - self.loaded - sum(self.rejected.values())

    @property
    def summary(self) -> str:
        """A few lines."""
        bad = sum(self.rejected.values())
        said = f"{self.path}: {self.loaded} samples loaded, {self.known} known, {bad} rejected"
        return "\n".join(
            [said, *(f"  line {r.line}: [{r.code}] {r.message}" for r in self.first_rejected)]
        )


def load_samples(tx: Connection, path: str) -> LoadedSamples:
    """Load every row of a CSV or JSON lines file that fits; the same file twice changes nothing.

    A row is known by its source and event_id, without one by the file's content and its line. Rows
    that do not fit are kept in `rejected_row`. InputError where the file cannot be read.
    """
    digest, now = _digest(path), clock.now(tx)
    rows, loaded, bad = 0, 0, list[Parsed]()
    for batch in _batches(_observed(each, now) for each in parsed_rows(Path(path))):
        rows += len(batch)
        bad += [each for each in batch if each.problem]
        loaded += _insert(tx, batch, digest)
    counts = {"path": path, "digest": digest, "rows": rows, "loaded": loaded, "rejected": len(bad)}
    _keep(tx, counts, bad)
    rejected = [_rejected(each) for each in bad]
    return LoadedSamples(
        path=path,
        rows=rows,
        loaded=loaded,
        rejected=dict(sorted(Counter(each.code for each in rejected).items())),
        first_rejected=tuple(rejected[:_SHOWN]),
    )


def as_sample(**values: Any) -> SampleRow:
    """One sample of these values; InputError says what cannot be, and what could."""
    try:
        return SampleRow(**values)
    except ValidationError as error:
        raise _refused(misfit(error)) from None


def record_sample(tx: Connection, sample: SampleRow) -> int | None:
    """Record one sample; its number, or None where its source's event_id is known.

    InputError for one that is observed later than now.
    """
    early = not_yet(sample, clock.now(tx))
    if early is not None:
        raise _refused(early)
    number = tx.scalar(QUERIES["record_one_sample"], sample.model_dump())
    return None if number is None else int(number)


def _refused(reason: Reason) -> InputError:
    return InputError(f"the sample cannot be: [{reason.code}] {reason.message}")


def _observed(row: Parsed, now: datetime) -> Parsed:
    """The row; with its reason, where nobody can have observed it yet."""
    early = row.sample and not_yet(row.sample, now)
    return row._replace(sample=None, problem=early) if early else row


def _digest(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _batches(rows: Iterable[Parsed]) -> Iterator[list[Parsed]]:
    each = iter(rows)
    while batch := list(islice(each, _AT_ONCE)):
        yield batch


def _insert(tx: Connection, batch: Sequence[Parsed], digest: str) -> int:
    fitting = [(each.line, each.sample) for each in batch if each.sample]
    samples = [
        sample.model_dump() | {"event_id": sample.event_id or f"{digest[:16]}:{line}"}
        for line, sample in fitting
    ]
    if not samples:
        return 0
    return tx.execute(QUERIES["insert_samples"], {"samples": jsonb.dump(samples)}).rowcount


def _keep(tx: Connection, counts: dict[str, Any], bad: Sequence[Parsed]) -> None:
    """The file, and its rows that did not fit; one that was loaded before is not told again."""
    batch_id = tx.scalar(QUERIES["record_samples_file"], counts)
    if batch_id is None or not bad:
        return
    rows = [
        {"line": each.line, "raw": each.raw} | _rejected(each).model_dump(exclude={"line"})
        for each in bad
    ]
    told = {"batch_id": batch_id, "digest": counts["digest"], "rows": jsonb.dump(rows)}
    tx.execute(QUERIES["keep_rejected_samples"], told)


def _rejected(row: Parsed) -> Rejected:
    problem = row.problem or Reason("unknown", "")
    return Rejected(line=row.line, code=problem.code, message=problem.message)
