"""Two days of a bandit, hour by hour, through everything: assign, track, fold, check, allocate."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from sqlalchemy import Engine

from tasks.decisions import replay
from tasks.experiments import steps
from tasks.experiments.reporting.bandits import read_bandit
from tasks.experiments.reporting.bandits_page import BanditFacts
from tasks.experiments.traffic.results import Allocated
from tasks.rules import load_rules
from tests.database.bandits import RATES, later, start_bandit, visit
from tests.database.experiments import PASSED, fold_now, new_run
from tests.rows import rows_of

HOURS = 40
UNITS = 40
FLOOR, STEP = 0.02, 0.25


def live(experiment_id: str) -> list[Allocated]:
    """Units come for an hour, then the hourly update; every tenth one comes twice."""
    random = np.random.default_rng(20261121)
    updates = []
    for hour in range(HOURS):
        visit(random, UNITS, prefix=f"h{hour}-")
        later(hours=1)
        fold_now(experiment_id)
        for _ in range(2 if hour % 10 == 0 else 1):
            with new_run():
                updates += steps.allocate_batch(experiment_ids=[experiment_id], suites=PASSED)
    return updates


def read(database: Engine) -> BanditFacts:
    with database.connect() as connection:
        facts = read_bandit(connection, "greeting")
    assert facts is not None
    return facts


def test_in_two_days_the_traffic_goes_to_the_best_arm_and_no_arm_starves(database: Engine) -> None:
    policy = {"warm_up_units": 20, "floor": FLOOR, "maximum_step": STEP}
    updates = live(start_bandit(policy=policy))
    facts = read(database)
    weights = [{arm.name: arm.weight for arm in epoch.arms} for epoch in facts.epochs]

    # It warms up with the split that was planned, then goes to b, and stays there.
    first = next(number for number, each in enumerate(updates) if each.code != "warming-up")
    assert 0 < first < 10
    assert max(weights[-1], key=lambda name: weights[-1][name]) == "b"
    assert weights[-1]["b"] > 0.8
    for split in weights:
        assert sum(split.values()) == pytest.approx(1, abs=1e-12)
        assert min(split.values()) >= FLOOR - 1e-9
    for before, after in pairwise(weights):
        assert max(abs(after[name] - before[name]) for name in RATES) <= STEP + 1e-9

    # What came twice moved nothing, and every epoch is one decision that can be replayed.
    outcomes = Counter(each.outcome for each in updates)
    assert outcomes["skipped"] == HOURS // 10
    assert outcomes["changed"] == len(facts.epochs) - 1
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()

    # Units came as each epoch's split says: within four standard errors, arm by arm.
    for arm in RATES:
        came = sum(each.units for epoch in facts.epochs for each in epoch.arms if each.name == arm)
        shares = [
            (each.weight, sum(one.units for one in epoch.arms))
            for epoch in facts.epochs
            for each in epoch.arms
            if each.name == arm
        ]
        meant = sum(weight * units for weight, units in shares)
        error = sum(weight * (1 - weight) * units for weight, units in shares) ** 0.5
        assert abs(came - meant) < 4 * error

    assert facts.regret is not None
    assert facts.uniform_regret is not None
    assert facts.regret < 0.6 * facts.uniform_regret
    total = "SELECT count(*), count(DISTINCT user_id) FROM ab_assignments"
    assert rows_of(database, total) == [(HOURS * UNITS, HOURS * UNITS)]
