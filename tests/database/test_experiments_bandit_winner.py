"""A bandit moves its traffic, and still gets its winner by the looks that hold their error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from tasks.decisions import replay
from tasks.experiments import steps
from tasks.rules import load_rules
from tests.database.experiments import PASSED, assignment, event, load, look, new_run, start
from tests.rows import rows_of

DRAW = np.random.default_rng(4)
MEANS = {"control": 10.0, "red": 11.5}


def _come(folder: Path, day: int, split: dict[str, int]) -> None:
    """So many units of each arm, whose mood rises from day to day."""
    rows = []
    for name, units in split.items():
        values = DRAW.normal(MEANS[name] + 5 * day, 3, units).tolist()
        for number, value in enumerate(values):
            user = f"{name}-{day}-{number}"
            rows += [
                assignment(user, name, assigned_at=f"2026-01-0{day}T00:00:00Z"),
                event(user, value, f"e-{user}", event_timestamp=f"2026-01-0{day}T01:00:00Z"),
            ]
    load(folder, rows, name=f"day-{day}")


def test_a_bandit_whose_split_has_moved_gets_its_winner(database: Engine, tmp_path: Path) -> None:
    experiment = start(
        bandit={"warm_up_units": 50}, planned_sample_size=1000, is_stopped_at_winner=False
    )
    _come(tmp_path, 1, {"control": 200, "red": 200})
    look(experiment)
    with new_run():
        (updated,) = steps.allocate_batch(experiment_ids=[experiment], suites=PASSED)
    assert updated.outcome == "changed"
    with database.begin() as tx:
        tx.execute(text("UPDATE allocation SET started_at = '2026-01-02' WHERE epoch = 2"))
    ((share,),) = rows_of(
        database,
        "SELECT w.weight FROM allocation_weight w JOIN ab_variants v ON v.id = w.variant_id "
        "WHERE w.epoch = 2 AND v.variant_name = 'red'",
    )
    assert share > 0.7
    _come(tmp_path, 3, {"control": round(600 * (1 - share)), "red": round(600 * share)})
    assert look(experiment).winner == "red"
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()
