"""Statistics that somebody else aggregated: cumulative up to a moment, one row an arm and metric.

experiment       name; may be given for the whole file instead
variant  metric  names; the metric is one of the experiment's
observed_at      everything up to then is counted
n  mean          units with a value, and its mean over them
variance | m2    sample variance (over n - 1), or the sum of squared deviations from the mean
assigned         units that were assigned; n where it is left out

An experiment that has units of its own is judged by those alone: rows for it are rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tasks.database import load_queries
from tasks.experiments.ingestion import staging
from tasks.experiments.ingestion.batches import Content
from tasks.experiments.ingestion.columns import Records
from tasks.experiments.ingestion.events import Row, experiment_of, rejected
from tasks.experiments.ingestion.results import IngestedBatch
from tasks.experiments.ingestion.values import (
    BrokenRow,
    dump,
    moment_of,
    number_of,
    text_of,
    whole_of,
)
from tasks.runs import current_run

QUERIES = load_queries(__package__, "statistics.sql")
_SIEVE = (
    "resolve_statistics",
    "lock_experiments",
    "refuse_own_units",
    "judge_statistics",
    "reject_statistics",
)


class Statistic(NamedTuple):
    """One row, as it goes to `incoming_statistic`."""

    experiment: str
    variant: str
    metric: str
    observed_at: Any
    assigned: int
    n: int
    mean: float
    m2: float


def parse_statistic(raw: Mapping[str, Any], experiment: str | None) -> Statistic:
    """Read one row; BrokenRow says what is wrong with it."""
    name = experiment_of(text_of(raw.get("experiment"), "experiment"), experiment)
    n = _needed(whole_of, raw, "n")
    assigned = whole_of(raw.get("assigned"), "assigned")
    if assigned is not None and assigned < n:
        raise BrokenRow("bad-number", f"{n} units have a value, but {assigned} were assigned")
    return Statistic(
        experiment=name,
        variant=_needed(text_of, raw, "variant"),
        metric=_needed(text_of, raw, "metric"),
        observed_at=_needed(moment_of, raw, "observed_at"),
        assigned=n if assigned is None else assigned,
        n=n,
        mean=_needed(number_of, raw, "mean") if n else 0.0,
        m2=_m2(raw, n),
    )


def load_statistics(tx: Connection, content: Content, records: Records) -> IngestedBatch:
    """Load a batch of statistics: each once, what was corrected replaced, the others rejected."""
    staging.begin(tx)
    tx.execute(QUERIES["create_incoming_statistic"])
    _copy(tx, content, records)
    for name in _SIEVE:
        tx.execute(QUERIES[name])
    written = tx.execute(QUERIES["upsert_statistics"], {"source": content.source}).one()
    reasons = staging.reasons_of(tx)
    rows, refused = len(records.raws), sum(reasons.values())
    return IngestedBatch(
        number=content.number,
        rows=rows,
        statistics=written.added,
        corrected=written.corrected,
        duplicates=rows - refused - written.added - written.corrected,
        rejected=refused,
        reasons=reasons,
        run_id=current_run().id,
    )


def _needed(read: Any, raw: Mapping[str, Any], column: str) -> Any:
    found = read(raw.get(column), column)
    if found is None:
        code = "missing-timestamp" if read is moment_of else f"missing-{column}"
        raise BrokenRow(code, f"the row has no {column}")
    return found


def _m2(raw: Mapping[str, Any], n: int) -> float:
    variance = number_of(raw.get("variance"), "variance")
    m2 = number_of(raw.get("m2"), "m2")
    if (variance is None) == (m2 is None):
        if n <= 1 and m2 is None:
            return 0.0
        raise BrokenRow("missing-variance", "a row gives either variance or m2")
    given = m2 if variance is None else variance
    if given is None or given < 0:
        raise BrokenRow("bad-number", "variance and m2 are not below 0")
    if n <= 1:
        if m2:
            raise BrokenRow("bad-number", f"m2 is {m2:g}, but {n} values do not vary")
        return 0.0
    return given if variance is None else given * (n - 1)


def _copy(tx: Connection, content: Content, records: Records) -> None:
    driver: Any = tx.connection.driver_connection
    columns = f"line_number, row_number, raw, {', '.join(Statistic._fields)}"
    broken: list[tuple[int, Row]] = []
    with driver.cursor().copy(f"COPY incoming_statistic ({columns}) FROM STDIN") as copy:
        for place, (number, line, raw) in enumerate(zip(*records, strict=True)):
            found = _parsed(raw, content.experiment)
            if isinstance(found, BrokenRow):
                broken.append((place, rejected(found, line)))
            else:
                copy.write_row((line, number, dump(dict(raw)), *found))
    staging.copy_broken(tx, broken, records)


def _parsed(raw: Any, experiment: str | None) -> Statistic | BrokenRow:
    if isinstance(raw, BrokenRow):
        return raw
    try:
        return parse_statistic(raw, experiment)
    except BrokenRow as broken:
        broken.raw = dict(raw)
        return broken
