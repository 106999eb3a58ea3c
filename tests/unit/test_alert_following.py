"""An open alert follows what is observed, in any order of observations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from tasks.alerts.following import follow
from tasks.alerts.model import Alert, Observation, Severity

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ALERT = Alert(
    id=1,
    subject="rollout:1",
    metric="error_rate",
    severity="info",
    state="acknowledged",
    title="t",
    message="m",
    details={},
    occurrences=1,
    healthy_streak=0,
    opened_at=NOON,
    seen_at=NOON,
)
SEEN = st.builds(
    Observation,
    subject=st.just("rollout:1"),
    metric=st.just("error_rate"),
    health=st.sampled_from(["healthy", "unhealthy", "inconclusive", "over"]),
    severity=st.sampled_from(SEVERITIES),
    title=st.just("t"),
    message=st.just("m"),
    healthy_needed=st.integers(1, 4),
)


@given(st.lists(SEEN, max_size=30))
def test_it_is_resolved_by_healthy_looks_in_a_row_or_an_end_and_by_nothing_else(
    looks: list[Observation],
) -> None:
    alert, streak, worst = ALERT, 0, "info"
    for seen in looks:
        followed = follow(alert, seen)
        if seen.health == "inconclusive":
            assert followed is None
            continue
        assert followed is not None
        if seen.health == "over":
            assert (followed.alert.state, followed.event, followed.note) == (
                "resolved",
                "closed",
                "m",
            )
            return
        streak = streak + 1 if seen.health == "healthy" else 0
        is_graver = SEVERITIES.index(seen.severity) > SEVERITIES.index(alert.severity)
        is_worse = seen.health == "unhealthy" and is_graver
        worst = seen.severity if is_worse else worst
        is_over = seen.health == "healthy" and streak >= seen.healthy_needed
        assert (followed.alert.state == "resolved") == is_over
        assert followed.event == ("resolved" if is_over else "escalated" if is_worse else None)
        assert (followed.alert.severity, followed.alert.healthy_streak) == (worst, streak)
        if is_over:
            return
        alert = followed.alert
    # Twice at most it gets graver, and only then does it call again for who acknowledged it.
    assert (alert.state == "open") == (worst != "info")
