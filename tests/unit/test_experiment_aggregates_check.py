"""The check of figures that somebody else aggregated, as a pure rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tasks.experiments.quality import checks as _checks  # noqa: F401 - registers them
from tasks.experiments.quality.facts import Aggregate, ExperimentFacts
from tasks.experiments.quality.registry import run_check

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARMS = ("control", "red")


def facts(*told: Aggregate) -> ExperimentFacts:
    return ExperimentFacts(
        experiment_id=UUID(int=1),
        experiment="buttons",
        status="active",
        started_at=NOW - timedelta(days=10),
        now=NOW,
        aggregates=told,
    )


def told(**changes: Any) -> Aggregate:
    fields: dict[str, Any] = {
        "metric": "spend",
        "role": "primary",
        "arms": ARMS,
        "known_to": (NOW, NOW),
        "compared_at": NOW,
        "own_units": 0,
    }
    return Aggregate(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "outcome", "said"),
    [
        ({}, "passed", ""),
        ({"own_units": 3}, "failed", "has 3 units of its own"),
        ({"compared_at": None, "known_to": (NOW, None)}, "failed", "red: none"),
        ({"compared_at": None, "role": "secondary"}, "passed", "no moment that all arms have"),
        ({"known_to": (NOW, NOW - timedelta(hours=24))}, "passed", "is known of red"),
        ({"known_to": (NOW, NOW - timedelta(hours=25))}, "failed", "is known of red"),
    ],
)
def test_figures_of_others_stand_alone_and_are_of_one_moment(
    changes: dict[str, Any], outcome: str, said: str
) -> None:
    oldest = min(at for at in changes.get("known_to", (NOW,)) if at)
    known = facts(told(**({"compared_at": oldest} | changes)))
    check = run_check("aggregates", known)
    assert check.outcome == outcome
    assert said in check.message


@pytest.mark.parametrize(
    ("role", "behind", "outcome"),
    [("guardrail", 25, "failed"), ("guardrail", 24, "passed"), ("secondary", 25, "passed")],
)
def test_metrics_that_decide_together_are_of_one_moment(
    role: str, behind: int, outcome: str
) -> None:
    """A guardrail of three weeks ago guards nothing, though it was loaded today."""
    then = NOW - timedelta(hours=behind)
    crashes = told(metric="crashes", role=role, known_to=(then, then), compared_at=then)
    check = run_check("aggregates", facts(told(), crashes))
    assert check.outcome == outcome
    if outcome == "failed":
        assert check.message == (
            "crashes is known up to 2026-02-28 11:00 UTC, spend up to 2026-03-01 12:00 UTC. "
            "Load the figures of all metrics up to the same moment"
        )
