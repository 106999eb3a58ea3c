"""A simulation leaves its page in the UI, and nothing in the database but its run."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from flows.simulate import simulate_rollout
from tasks.errors import InputError
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.simulation.truth import Level
from tests.flows.test_rollout import artifact
from tests.rows import rows_of

POLICY = RolloutPolicy(checks=(CheckPolicy(check="error_rate", limit=0.05),))


def test_a_simulation_leaves_a_page(database: Engine) -> None:
    truth = (Level(check="error_rate", canary=0.2, control=0.03),)
    found = simulate_rollout(truth=truth, policy=POLICY, schedule="50/2h", runs=3)
    assert found.estimate.rolled_back.count == 3
    page = artifact("simulated-rollout")
    assert "3 runs from seed 20261121 of 50/2h, judged by the threshold guard" in page
    assert "| median delay from the first harm to the rollback | 1 h" in page
    assert rows_of(database, "SELECT count(*) FROM rollout") == [(0,)]


def test_a_simulation_needs_something_to_go_by(database: Engine) -> None:
    with pytest.raises(InputError, match="state what is true"):
        simulate_rollout()
