"""What somebody else aggregated and cannot be judged: beside units, of several moments, untrue."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks.database import control_engine
from tasks.experiments.analysis.results import Analysis
from tasks.experiments.folding.recomputing import recompute
from tasks.experiments.ingestion.results import IngestedBatch
from tests.database.experiments import arms, fold_now, load, look, metric, start, tell
from tests.rows import rows_of

RATE = metric(name="bought", kind="proportion", aggregation="any", missing="zero")
FIGURES = (
    "SELECT v.variant_name, s.assigned, s.n FROM moment_statistic s "
    "JOIN ab_variants v ON v.id = s.variant_id WHERE s.dimension = '' ORDER BY 1"
)


def told(variant: str, n: int, mean: float, **changes: Any) -> dict[str, Any]:
    """A row of a rate as it is: its variance follows from its mean."""
    row = {"experiment": "buttons", "metric": "bought", "variant": variant, "n": n, "mean": mean}
    return row | {"observed_at": "2026-01-02", "m2": n * mean * (1 - mean)} | changes


def codes(analysis: Analysis) -> set[str]:
    assert analysis.verdict is not None
    return {reason.code for reason in analysis.verdict.reasons}


@pytest.mark.parametrize("told_arms", [("control", "red"), ("red",)])
def test_figures_of_others_replace_no_units_that_an_experiment_has(
    database: Engine, tmp_path: Path, told_arms: tuple[str, ...]
) -> None:
    """A split that is broken stays broken, whatever somebody says about it."""
    experiment = start(metric=RATE)
    load(tmp_path, arms([1.0] * 200, [1.0] * 100))
    assert "srm-failed" in codes(look(experiment))
    means = {"control": 0.1, "red": 0.2}
    loaded = tell(tmp_path, *(told(arm, 2000, means[arm]) for arm in told_arms))
    assert (loaded.statistics, loaded.reasons) == (0, {"has-own-units": len(told_arms)})
    said = rows_of(database, "SELECT message FROM rejected_row LIMIT 1")
    assert "has units of its own, which alone are judged" in said[0][0]
    load(tmp_path, arms([1.0], [1.0], start=200), name="more")
    analysis = look(experiment)
    assert analysis.winner is None
    assert "srm-failed" in codes(analysis)
    assert rows_of(database, FIGURES) == [("control", 201, 201), ("red", 101, 101)]


def test_figures_wait_for_a_unit_that_is_being_assigned_and_are_refused(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=RATE)
    loaded: list[IngestedBatch] = []
    with database.connect() as connection:
        connection.execute(text("SELECT assign_variant('buttons', 'ann')"))
        load_them = threading.Thread(
            target=lambda: loaded.append(tell(tmp_path, told("red", 100, 0.5)))
        )
        load_them.start()
        load_them.join(0.5)
        assert load_them.is_alive()
        connection.commit()
    load_them.join(30)
    assert loaded[0].reasons == {"has-own-units": 1}
    assert rows_of(database, "SELECT 1 FROM aggregate_statistic") == []


def test_units_that_come_to_aggregated_figures_count_alone_and_close_the_gate(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(metric=RATE)
    tell(tmp_path, told("control", 400, 0.1), told("red", 400, 0.3))
    fold_now(experiment)
    assert rows_of(database, FIGURES) == [("control", 400, 400), ("red", 400, 400)]
    load(tmp_path, arms([1.0] * 20, [1.0] * 20))
    analysis = look(experiment)
    assert analysis.winner is None
    assert "aggregates-failed" in codes(analysis)
    assert rows_of(database, FIGURES) == [("control", 20, 20), ("red", 20, 20)]
    with control_engine().begin() as tx:
        assert recompute(tx, [experiment]) == []


def test_a_unit_whose_arm_a_person_chose_is_none_of_the_experiment(
    database: Engine, tmp_path: Path
) -> None:
    start(metric=RATE)
    with database.begin() as connection:
        connection.execute(text("SELECT assign_variant('buttons', 'ann')"))
        connection.execute(text("UPDATE ab_assignments SET is_override = true"))
    assert tell(tmp_path, told("red", 100, 0.5)).statistics == 1


def test_arms_are_compared_at_the_newest_moment_that_all_of_them_have(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(metric=RATE)
    late = {"observed_at": "2026-01-21"}
    tell(tmp_path, told("control", 400, 0.1), told("red", 410, 0.3, **late))
    analysis = look(experiment)
    assert analysis.winner is None
    assert "aggregates-failed" in codes(analysis)
    assert rows_of(database, FIGURES) == [("control", 0, 0), ("red", 0, 0)]
    tell(tmp_path, told("red", 390, 0.3))
    analysis = look(experiment)
    assert "aggregates-failed" in codes(analysis), "red is nineteen days ahead"
    assert rows_of(database, FIGURES) == [("control", 400, 400), ("red", 390, 390)]
    tell(tmp_path, told("control", 420, 0.1, **late))
    assert look(experiment).winner == "red"
    assert rows_of(database, FIGURES) == [("control", 420, 420), ("red", 410, 410)]


def test_an_arm_that_is_loaded_a_little_later_closes_nothing(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(metric=RATE)
    tell(tmp_path, told("control", 40, 0.1), told("red", 40, 0.1))
    tell(tmp_path, told("control", 50, 0.1, observed_at="2026-01-02T12:00:00Z"))
    analysis = look(experiment)
    assert "aggregates-failed" not in codes(analysis)
    assert rows_of(database, FIGURES) == [("control", 40, 40), ("red", 40, 40)]
    assert analysis.verdict is not None
    (check,) = (c for c in analysis.verdict.details["checks"] if c["name"] == "aggregates")
    assert check["message"] == (
        "bought is compared as of 2026-01-02 00:00 UTC: "
        "nothing newer than 2026-01-02 00:00 UTC is known of red"
    )
