"""Is each event there once?"""

from __future__ import annotations

from tasks.experiments.quality.facts import ExperimentFacts, Sampled, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown

REPEATED_SHARE = 0.05
"""Of the rows that repeat another one; a join with two matches a row gives 0.5."""

_FEW_ROWS = 5


@quality_checks.register("fan-out")
def fan_out(facts: ExperimentFacts) -> QualityCheck:
    """Rows that repeat another of the same unit, type, value and time, as a join's do."""
    sampled = [row for row in need(facts.sampled) if row.rows > 0]
    if not sampled:
        if facts.primary.is_aggregated and all(m.is_aggregated for m in need(facts.metrics)):
            return passed("others aggregated the events, so none can be looked at")
        return unknown("no event has come yet")
    worst = max(sampled, key=lambda row: row.repeated / row.rows)
    share = worst.repeated / worst.rows
    figures: dict[str, Figure] = {
        "event_type": worst.event_type,
        "rows": worst.rows,
        "repeated_rows": worst.repeated,
    }
    if worst.repeated < _FEW_ROWS or share <= REPEATED_SHARE:
        return passed(**figures)
    return _repeated(worst, share).model_copy(update={"figures": figures})


def _repeated(sampled: Sampled, share: float) -> QualityCheck:
    message = (
        f"{share:.0%} of {sampled.rows} {sampled.event_type} events repeat another of the same "
        "unit, value and time"
    )
    if sampled.is_rounded:
        return unknown(
            f"{message}; no time has seconds, so these may be rows twice or events of one minute. "
            "Send exact times, and an event_id with each event"
        )
    return failed(
        f"{message}, as a join with several matches a row makes them. Correct the query, give each "
        "event its event_id, and load again"
    )
