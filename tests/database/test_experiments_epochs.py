"""Arms of an experiment whose split moved are compared within its epochs, on real Postgres."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tasks.decisions import replay
from tasks.experiments.assignment.allocation import reallocate
from tasks.rules import load_rules
from tests.database.experiments import assignment, event, load, look, metric, start
from tests.rows import rows_of

# Units of control and red before and after the split moved; afterwards everybody spends more.
BEFORE, AFTER = (100, 100), (20, 180)
DRAW = np.random.default_rng(9)
SPENT = {
    "control": [DRAW.normal(10, 2, BEFORE[0]), DRAW.normal(30, 2, AFTER[0])],
    "red": [DRAW.normal(10, 2, BEFORE[1]), DRAW.normal(30, 2, AFTER[1])],
}


def _of_primary(engine: Engine, field: str) -> Any:
    """What the evidence of the one look says of its primary metric."""
    asked = "SELECT inputs -> 'primary' FROM headway.decision WHERE rule = 'experiment-winner'"
    ((primary,),) = rows_of(engine, asked)
    return primary[field]


def _move_the_split(engine: Engine, experiment: str) -> None:
    with engine.begin() as tx:
        reallocate(tx, UUID(experiment), {"control": 0.1, "red": 0.9}, "ada", "a test")
        tx.execute(text("UPDATE allocation SET started_at = '2026-01-05' WHERE epoch = 2"))


def _load(folder: Path) -> None:
    rows = []
    for name, epochs in SPENT.items():
        for day, values in zip((1, 6), epochs, strict=True):
            for number, value in enumerate(values.tolist()):
                user = f"{name}-{day}-{number}"
                rows += [
                    assignment(user, name, assigned_at=f"2026-01-0{day}T00:00:00Z"),
                    event(user, value, f"e-{user}", event_timestamp=f"2026-01-0{day}T01:00:00Z"),
                ]
    load(folder, rows)


def test_nobody_wins_because_the_split_moved_when_the_mood_did(
    database: Engine, tmp_path: Path
) -> None:
    """Pooled, red is far ahead of the control: 22.9 against 13.3."""
    experiment = start(is_stopped_at_winner=False)
    _move_the_split(database, experiment)
    _load(tmp_path)
    assert look(experiment).winner is None
    ((difference, z, epochs),) = rows_of(
        database,
        "SELECT vm.difference, vm.z, d.inputs #> '{primary,epochs}' FROM variant_metric vm "
        "JOIN headway.decision d ON d.id = vm.decision_id WHERE vm.difference IS NOT NULL",
    )
    gaps = [red.mean() - c.mean() for c, red in zip(*SPENT.values(), strict=True)]
    assert difference == pytest.approx(sum(gaps) / 2)  # 200 units came in either epoch
    assert abs(z) < 3
    assert [(each["number"], each["traffic"]) for each in epochs] == [(1, 200), (2, 200)]
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()


def test_a_split_that_never_moved_is_compared_as_a_whole(database: Engine, tmp_path: Path) -> None:
    experiment = start(is_stopped_at_winner=False)
    _load(tmp_path)
    look(experiment)
    assert _of_primary(database, "epochs") == []


def test_a_quantile_is_unknown_once_the_split_has_moved(database: Engine, tmp_path: Path) -> None:
    experiment = start(metric=metric(kind="quantile", quantile=0.9), is_stopped_at_winner=False)
    _move_the_split(database, experiment)
    _load(tmp_path)
    seen = look(experiment)
    assert seen.winner is None
    problem = "a quantile cannot be compared within epochs, and the split has moved"
    assert _of_primary(database, "problem") == problem
