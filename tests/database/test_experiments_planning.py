"""The calendar, folders of plans, and plans by what units did lately."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from flows import experiments
from flows.pipeline import run_by_ledger
from tasks import clock
from tasks.errors import InputError, ItemsFailed, Refused
from tasks.experiments import steps
from tasks.experiments.definition.editing import ExperimentEdit
from tasks.experiments.definition.history import read_history
from tasks.experiments.definition.planning import plan_file, plan_sample
from tasks.experiments.definition.sample import Baseline
from tasks.experiments.definition.scheduling import ScheduledChanges
from tests.database.experiments import metric, new_run, plan, start
from tests.rows import rows_of

STATES = "SELECT experiment_name, status::text FROM ab_experiments ORDER BY 1"
BY_ADA = {"actor": "ada", "reason": "as planned"}


def tick() -> ScheduledChanges:
    with new_run():
        return steps.apply_schedule()


def shift(database: Engine, **by: float) -> datetime:
    with database.begin() as tx:
        return clock.shift(tx, timedelta(**by))


def create(name: str, **changes: Any) -> None:
    with new_run():
        steps.create_experiment(plan=plan(name=name, **changes))


def test_the_calendar_starts_drafts_and_completes_what_has_ended(database: Engine) -> None:
    now = shift(database, hours=1)
    create("later", starts_at=now + timedelta(hours=2), ends_at=now + timedelta(days=2))
    create("never")
    assert tick().changed == ()
    shift(database, hours=2)
    (started,) = tick().changed
    assert (started.name, started.status, started.version) == ("later", "active", 2)
    assert tick().changed == ()
    shift(database, days=2)
    (ended,) = tick().changed
    assert (ended.name, ended.status) == ("later", "completed")
    assert rows_of(database, STATES) == [("later", "completed"), ("never", "draft")]
    kept = "SELECT actor, reason FROM headway.decision ORDER BY id"
    assert rows_of(database, kept) == [
        ("schedule", "its starts_at has come"),
        ("schedule", "its ends_at has passed"),
    ]


def test_what_has_ended_is_looked_at_once_more_before_it_is_completed(database: Engine) -> None:
    now = shift(database, hours=1)
    start(name="over", ends_at=now + timedelta(minutes=10))
    shift(database, minutes=20)
    assert tick().changed == ()
    shift(database, minutes=51)
    assert [each.status for each in tick().changed] == ["completed"]


def test_a_draft_whose_time_is_over_is_not_started(database: Engine) -> None:
    now = shift(database, hours=1)
    create("missed", starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2))
    shift(database, hours=3)
    assert tick() == ScheduledChanges()


def test_what_would_be_over_at_once_is_not_started(database: Engine) -> None:
    now = shift(database, hours=1)
    over = now - timedelta(minutes=1)
    said = r"\[invalid-plan\] its ends_at, \d{4}-.* UTC, has passed.*--ends-at"
    with pytest.raises(Refused, match=said):
        start(name="created", ends_at=over)
    assert rows_of(database, STATES) == []
    create("drafted", ends_at=over)
    with new_run(), pytest.raises(Refused, match=said):
        steps.change_experiment(experiment="drafted", action="start")
    with new_run(), pytest.raises(Refused, match=said):
        steps.create_experiment(plan=plan(name="drafted", ends_at=over), is_started=True)
    assert rows_of(database, STATES) == [("drafted", "draft")]
    with new_run():
        later = ExperimentEdit(ends_at=now + timedelta(days=1))
        steps.change_experiment(experiment="drafted", action="edit", edit=later)
        steps.change_experiment(experiment="drafted", action="start")
    assert rows_of(database, STATES) == [("drafted", "active")]


def test_one_that_cannot_be_started_stops_no_other(database: Engine) -> None:
    now = shift(database, hours=1)
    for name in ("a", "b"):
        create(name, starts_at=now)
    with database.begin() as tx:
        broken = "UPDATE ab_variants SET traffic_weight = 0.1 WHERE experiment_id = "
        tx.execute(text(f"{broken}(SELECT id FROM ab_experiments WHERE experiment_name = 'a')"))
    outcome = tick()
    assert [each.name for each in outcome.changed] == ["b"]
    assert "[no-plan] its tables hold no complete plan: the weights" in outcome.failures["a"]


def _write(folder: Path, **plans: Any) -> Path:
    for file, content in plans.items():
        document = content if isinstance(content, str) else content.model_dump_json()
        (folder / f"{file}.json").write_text(document, "utf-8")
    return folder


def sync(folder: Path) -> dict[str, str]:
    changed = run_by_ledger(experiments.sync_experiments, {"folder": str(folder), **BY_ADA})
    return {each.name: each.summary for each in changed if not each.is_noop}


def test_a_folder_creates_edits_and_leaves_alone(database: Engine, tmp_path: Path) -> None:
    folder = _write(tmp_path, a=plan(name="a"), b=plan(name="b"))
    assert sync(folder) == {"a": "a: new → draft", "b": "b: new → draft"}
    assert sync(folder) == {}
    with new_run():
        steps.change_experiment(experiment="b", action="start")
    _write(tmp_path, a=plan(name="a", alpha=0.01), b=plan(name="b", description="red?"))
    assert sync(folder) == {
        "a": "a: changed alpha; version 2",
        "b": "b: changed description; version 3",
    }
    assert sync(folder) == {}
    assert rows_of(database, "SELECT DISTINCT created_by FROM ab_experiments") == [("ada",)]


def test_a_file_that_fails_stops_no_other(database: Engine, tmp_path: Path) -> None:
    start(name="started")
    folder = _write(
        tmp_path,
        broken="{",
        fine=plan(name="fine"),
        started=plan(name="started", planned_sample_size=9_999),
        twin=plan(name="twin"),
        twin_2=plan(name="twin"),
    )
    (folder / "notes.txt").write_text("not a plan")
    with pytest.raises(ItemsFailed) as failed:
        sync(folder)
    said = failed.value.failures
    assert set(said) == {"broken.json", "started.json", "twin.json", "twin_2.json"}
    assert "[field-is-fixed] planned_sample_size cannot change" in said["started.json"]
    assert "by twin.json and by twin_2.json" in said["twin.json"]
    assert rows_of(database, STATES) == [("fine", "draft"), ("started", "active")]
    with pytest.raises(InputError, match="is not a folder"):
        sync(folder / "nowhere")


VALUES = np.random.default_rng(7).gamma(2, 10, 300)


def history(database: Engine, days: int = 14) -> None:
    """Three hundred control units, spread over the last days; four in five of them buy twice."""
    start(traffic_fraction=0.5)
    rows = [
        {"person": f"u{n}", "value": float(value) if n % 5 else None, "age": days * n / len(VALUES)}
        for n, value in enumerate(VALUES)
    ]
    with database.begin() as tx:
        tx.execute(text(_HISTORY), {"rows": json.dumps(rows)})


_HISTORY = """
WITH row AS (
    SELECT * FROM json_to_recordset(CAST(:rows AS json))
        AS r (person text, value float8, age float8)
), assigned AS (
    INSERT INTO ab_assignments (experiment_id, variant_id, user_id, bucket_value, assigned_at)
    SELECT v.experiment_id, v.id, r.person, 0.5,
           headway.clock_now() - make_interval(secs => age * 86400)
    FROM row r CROSS JOIN ab_variants v WHERE v.is_control
    RETURNING *
)
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                        event_timestamp)
SELECT a.experiment_id, a.variant_id, a.id, 'buy', r.value / 2, a.assigned_at + interval '1 minute'
FROM assigned a JOIN row r ON r.person = a.user_id CROSS JOIN generate_series(1, 2)
WHERE r.value IS NOT NULL
"""


def test_history_is_what_control_units_did(database: Engine) -> None:
    history(database)
    bought = np.array([value for n, value in enumerate(VALUES) if n % 5])
    with database.connect() as connection:
        found = read_history(connection, plan(), 28)
        by_zero = read_history(connection, plan(metric=metric(missing="zero")), 28)
        capped = read_history(connection, plan(metric=metric(cap_quantile=0.9)), 28)
    assert (found.units, found.n) == (300, 240)
    assert found.baseline is not None
    assert by_zero.baseline is not None
    assert capped.baseline is not None
    assert found.baseline.mean == pytest.approx(bought.mean())
    assert found.baseline.standard_deviation == pytest.approx(bought.std(ddof=1))
    assert by_zero.baseline.mean == pytest.approx(bought.sum() / 300)
    cut = np.minimum(bought, np.quantile(bought, 0.9))
    assert capped.baseline.standard_deviation == pytest.approx(cut.std(ddof=1))
    # Half of everybody took part.
    assert found.units_a_day == pytest.approx(300 / 0.5 / 14, rel=0.01)


def test_history_knows_ratios_quantiles_and_windows(database: Engine) -> None:
    history(database)
    bought = np.array([value for n, value in enumerate(VALUES) if n % 5])
    ratio = metric(
        kind="ratio",
        missing="zero",
        denominator_event_type="buy",
        denominator_aggregation="count",
    )
    median = metric(kind="quantile", quantile=0.5)
    with database.connect() as connection:
        each_event = read_history(connection, plan(metric=ratio), 28).baseline
        middle = read_history(connection, plan(metric=median), 28).baseline
        recent = read_history(connection, plan(metric=metric(window_hours=24 * 7)), 28)
        nobody = read_history(connection, plan(metric=metric(window_start_hours=1)), 28)
    assert each_event is not None
    assert middle is not None
    assert each_event.mean == pytest.approx(bought.mean() / 2)
    residual = np.where(np.arange(300) % 5, VALUES - each_event.mean * 2, 0)
    deviation = residual.std(ddof=1) / (2 * 0.8)
    assert each_event.standard_deviation == pytest.approx(deviation)
    assert middle.mean == pytest.approx(np.median(bought))
    # Its deviation is that of the median, not of the values: beside 4,000 bootstrap samples.
    random = np.random.default_rng(20261121)
    medians = np.median(random.choice(bought, (4000, len(bought))), axis=1)
    assert middle.standard_deviation == pytest.approx(medians.std() * sqrt(240), rel=0.15)
    assert recent.units == 150  # whose week is over
    assert (nobody.n, nobody.baseline) == (0, None)


def test_a_ratio_s_units_are_those_with_a_denominator(database: Engine) -> None:
    """As they are folded: who bought nothing is left out, who returned nothing counts as 0."""
    history(database)
    returns = metric(
        kind="ratio",
        event_type="buy",
        aggregation="count",
        denominator_event_type="visit",
        denominator_aggregation="count",
    )
    visit = (
        "INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, "
        "event_timestamp) SELECT experiment_id, variant_id, id, 'visit', assigned_at "
        "FROM ab_assignments WHERE substr(user_id, 2)::integer < 100"
    )
    with database.begin() as tx:
        tx.execute(text(visit))
        found = read_history(tx, plan(metric=returns), 28)
    assert (found.units, found.n) == (300, 100)
    assert found.baseline is not None
    assert found.baseline.mean == pytest.approx(2 * 80 / 100)
    bought = np.where(np.arange(100) % 5, 2.0, 0.0)
    assert found.baseline.standard_deviation == pytest.approx(bought.std(ddof=1))


def test_what_a_covariate_explained_is_left_out_of_the_plan(database: Engine) -> None:
    history(database)
    before = np.random.default_rng(3).normal(VALUES, 12)
    told = [{"person": f"u{n}", "age": float(value)} for n, value in enumerate(before)]
    write = """
        UPDATE ab_assignments a SET metadata = jsonb_build_object('age', r.age)
        FROM json_to_recordset(CAST(:rows AS json)) AS r (person text, age float8)
        WHERE a.user_id = r.person
    """
    earlier = """
        INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                                event_timestamp)
        SELECT experiment_id, variant_id, id, 'buy', (metadata ->> 'age')::float8,
               assigned_at - interval '3 days'
        FROM ab_assignments
    """
    seen = np.array([n for n in range(300) if n % 5])
    rho = np.corrcoef(VALUES[seen], before[seen])[0, 1]
    explained = 1 - (1 - rho**2) * 239 / 238
    with database.begin() as tx:
        tx.execute(text(write), {"rows": json.dumps(told)})
        tx.execute(text(earlier))
        for change in ({"covariate_attribute": "age"}, {"covariate_days": 7}):
            planned = plan(metric=metric(**change), minimum_effect=0.1)
            found = plan_sample(planned, read_history(tx, planned, 28))
            correlation = found.baseline.correlation
            assert correlation == pytest.approx(sqrt(explained), rel=1e-9)
            assert f"explains {explained:.0%} of the variance" in found.messages[-1]
            plain = plan(minimum_effect=0.1)
            without = plan_sample(plain, read_history(tx, plain, 28)).planned_sample_size
            assert without is not None
            assert found.planned_sample_size == pytest.approx(without * (1 - explained), abs=3)
        lacking = plan(metric=metric(covariate_attribute="iq"), minimum_effect=0.1)
        unknown = plan_sample(lacking, read_history(tx, lacking, 28))
    assert unknown.planned_sample_size == without
    assert "unknown, so the plan is made without it" in unknown.messages[-1]


def test_a_plan_is_made_from_history(database: Engine) -> None:
    history(database)
    planned = plan(minimum_effect=0.1, minimum_weeks=2)
    with database.connect() as connection:
        found = plan_sample(planned, read_history(connection, planned, 28), stated_size=400)
    assert found.planned_sample_size is not None
    assert found.units_a_week is not None
    assert found.units_a_week == pytest.approx(300 / 0.5 / 14 * 7 * 0.8, rel=0.01)
    assert found.days == pytest.approx(found.planned_sample_size / found.units_a_week * 7, abs=1)
    assert sum(found.arms.values()) == pytest.approx(found.planned_sample_size, abs=2)
    assert found.detectable[0].weeks is None
    effects = [each.effect for each in found.detectable[1:]]
    assert effects == sorted(effects, key=lambda effect: -(effect or 0))
    assert any(
        "too few to find a relative effect of 0.1 with" in message for message in found.messages
    )
    with database.connect() as connection:
        seen = read_history(connection, planned, 28)
    assert "20 in all: more than the 15" in plan_sample(planned, seen, stated_size=15).messages[-1]


def test_without_history_nothing_is_made_up(database: Engine, tmp_path: Path) -> None:
    start()
    file = _write(tmp_path, p=plan(minimum_effect=0.1)) / "p.json"
    with database.connect() as connection:
        with pytest.raises(Refused, match="in the last 7 days no control unit had a value") as no:
            plan_file(connection, file, days=7)
        stated = plan_file(connection, file, mean=10, deviation=5)
        weekly = plan_file(connection, file, mean=10, deviation=5, units_a_week=500)
    assert [reason.code for reason in no.value.reasons] == ["no-history"]
    assert (stated.days, stated.units_a_week) == (None, None)
    assert any("How long it takes is unknown" in message for message in stated.messages)
    assert weekly.planned_sample_size == stated.planned_sample_size
    assert stated.baseline == Baseline(mean=10, standard_deviation=5)
    assert weekly.days is not None
