"""Statistics that somebody else aggregated, from the file to the winner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from benchmarks.judging import decide, group_sequential
from benchmarks.recorded import Recorded, data_file, read
from benchmarks.ruled import really_decide
from benchmarks.simulated import Experiment, Paths, draw
from tasks.database import control_engine
from tasks.experiments import steps
from tasks.experiments.decision.evidence import Arm
from tasks.experiments.ingestion.files import scan_file
from tasks.experiments.reporting.comparison import compare
from tasks.experiments.reporting.detailed import read_report
from tests.database.experiments import look, metric, new_run, start
from tests.rows import rows_of

FILE = data_file()  # now: tests run without the surroundings' settings
DRAWN = Experiment((0.1, 0.125), 4_000, (0.2, 0.35, 0.5, 0.7, 0.85, 1.0))
RATE = metric(name="bought", kind="proportion", aggregation="any", missing="zero")


def _start(names: list[str], planned_units: int) -> str:
    variants = [
        {"name": name, "weight": 1 / len(names), "is_control": number == 0}
        for number, name in enumerate(names)
    ]
    return start(
        variants=variants,
        metric=RATE,
        planned_sample_size=planned_units,
        minimum_sample_size=100,
    )


def _load(folder: Path, day: int, arms: list[dict[str, Any]]) -> int:
    """Load what is known by the end of a day; returns how many rows were taken."""
    path = folder / f"day-{day}.jsonl"
    about = {"experiment": "buttons", "metric": "bought", "observed_at": f"2026-01-{day:02}"}
    path.write_text("".join(json.dumps(about | arm) + "\n" for arm in arms), "utf-8")
    scan = scan_file(str(path), 1000)
    with new_run():
        loaded = [
            steps.ingest_statistics(path=str(path), sha256=scan.sha256, batch=batch)
            for batch in scan.batches
        ]
    return sum(batch.statistics for batch in loaded)


def _rows(paths: Paths, run: int, number: int) -> list[dict[str, Any]]:
    n, mean, m2 = (values[run, number].tolist() for values in (paths.n, paths.mean, paths.m2))
    return [
        {"variant": str(arm), "n": n[arm], "mean": mean[arm], "m2": m2[arm]}
        for arm in range(len(n))
    ]


def test_the_pipeline_ends_a_drawn_experiment_as_the_rule_alone_does(
    database: Engine, tmp_path: Path
) -> None:
    """The same winner at the same look, with the same corrected lift."""
    paths = next(draw(DRAWN, 50, 20261121))
    found = decide(paths, group_sequential)
    run = next(r for r in range(50) if found.winner[r] and found.look[r] == 3)
    expected = really_decide(paths, run, "group_sequential")
    assert (expected.winner, expected.look) == (1, 3)

    experiment = _start(["0", "1"], DRAWN.planned_units)
    for number in range(3):
        assert _load(tmp_path, number + 1, _rows(paths, run, number)) == 2
        analysis = look(experiment)
        assert (analysis.winner, analysis.is_over) == (None, False)
        assert analysis.verdict is not None
        assert analysis.verdict.details["is_usable"], analysis.message
    assert _load(tmp_path, 4, _rows(paths, run, 3)) == 2
    analysis = look(experiment)
    assert (analysis.winner, analysis.is_over) == ("1", True)
    assert analysis.verdict is not None
    (row,) = analysis.verdict.details["arms"]
    assert row["corrected_lift"] == pytest.approx(expected.corrected_lift, rel=1e-6)
    assert rows_of(database, "SELECT status::text, winner_variant FROM ab_experiments") == [
        ("completed", "1")
    ]


def test_how_many_converted_is_unknown_where_only_a_mean_was_aggregated(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    told = {"metric": "spend", "n": 100, "variance": 4}
    assert _load(
        tmp_path,
        1,
        [told | {"variant": "control", "mean": 3}, told | {"variant": "red", "mean": 3.5}],
    )
    analysis = look(experiment)
    assert analysis.verdict is not None
    details = analysis.verdict.details
    for found in details["result"]["results"]:
        assert found["users"] == 100
        assert (found["successCount"], found["successRate"], found["totalEvents"]) == (None,) * 3
    assert details["control"]["converted"] is None
    with control_engine().connect() as connection:
        report = read_report(connection, "buttons")
        compared = compare(connection, "buttons", "variant").rows
    assert [(row.n, row.mean, row.events) for row in compared] == [(100, 3, None), (100, 3.5, None)]
    for arm in report.arms:
        assert (arm["units"], arm["conversions"], arm["conversion_rate"]) == (100, None, None)
        assert arm["total_value"] in {300, 350}


@pytest.mark.skipif(FILE is None, reason="ASOS_CSV names no file: the data are not here")
def test_a_real_experiment_of_three_arms_is_counted_and_compared_as_it_was_recorded(
    database: Engine, tmp_path: Path
) -> None:
    assert FILE is not None
    recorded = next(each for each in read(FILE) if each.name == "adea31")
    days = [_arms(recorded, at) for at in (20, 50, 82)]
    experiment = _start([arm.name for arm in days[0]], recorded.planned_units)
    for day, arms in enumerate(days, start=1):
        rows = [{"variant": a.name, "n": a.n, "mean": a.mean, "m2": a.m2} for a in arms]
        assert _load(tmp_path, day, rows) == 3
        analysis = look(experiment)
        assert analysis.verdict is not None
        seen = analysis.verdict.details
        assert [row["n"] for row in (seen["control"], *seen["arms"])] == [a.n for a in arms]
        assert {check["name"]: check["outcome"] for check in seen["checks"]}["srm"] == "passed"
    assert analysis.winner is None
    assert analysis.is_over, "the planned sample is there"


def _arms(recorded: Recorded, number: int) -> tuple[Arm, ...]:
    arms = recorded.checkpoints[number].arms
    assert arms is not None
    return arms
