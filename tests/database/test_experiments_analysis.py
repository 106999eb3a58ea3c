from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from flows.analyze import analyze_experiments
from flows.pipeline import run_by_ledger
from tasks import ledger
from tasks.bucketing import bucket
from tasks.database import load_queries
from tasks.decisions import replay
from tasks.errors import InputError, ItemsFailed, NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.assigning import get_variant
from tasks.experiments.assignment.choosing import salt_of
from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.reporting.status import experiment_status, latest_analysis
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import sample_mean
from tasks.rules import load_rules
from tests.database.experiments import (
    PASSED,
    arms,
    assignment,
    event,
    fold_now,
    load,
    look,
    metric,
    new_run,
    plan,
    start,
)
from tests.rows import rows_of

LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
STANDS = "SELECT status::text, winner_variant FROM ab_experiments"


def test_the_winner_is_recorded_and_the_experiment_completed(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    analysis = look(experiment)
    assert (analysis.winner, analysis.is_over) == ("red", True)
    assert rows_of(database, STANDS) == [("completed", "red")]
    (red,) = rows_of(
        database,
        "SELECT impressions, conversions, conversion_rate, total_value, "
        "confidence_interval_lower < 15.9, confidence_interval_upper > 15.9 "
        "FROM ab_variants WHERE variant_name = 'red'",
    )
    assert red == (100, 100, 1.0, sum(HIGH), True, True)
    (row,) = rows_of(
        database, "SELECT statistical_significance, completed_at IS NOT NULL FROM ab_experiments"
    )
    assert row[0] > 0.999
    assert row[1]
    assert look(experiment).message == "it is completed"


def test_what_a_look_records_is_what_welch_says_of_the_raw_values(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    expected = welch(sample_mean(LOW), sample_mean(HIGH))
    (row,) = rows_of(
        database,
        "SELECT n, mean, m2, difference, difference_lower, difference_upper, statistic, p_value "
        "FROM variant_metric WHERE difference IS NOT NULL",
    )
    moments = sample_mean(HIGH)
    assert row == pytest.approx(
        (
            100,
            moments.mean,
            moments.m2,
            expected.difference,
            expected.lower,
            expected.upper,
            expected.statistic,
            expected.p_value,
        ),
        rel=1e-8,
    )


@pytest.mark.parametrize(
    ("aggregation", "missing", "expected"),
    [
        ("sum", "exclude", (2, 7.0)),
        ("sum", "zero", (3, 14 / 3)),
        ("mean", "exclude", (2, 4.5)),
        ("min", "exclude", (2, 4.0)),
        ("max", "exclude", (2, 5.0)),
        ("first", "exclude", (2, 4.0)),
        ("last", "exclude", (2, 5.0)),
        ("last", "zero", (3, 10 / 3)),
        ("count", "exclude", (2, 1.5)),
        ("count", "zero", (3, 1.0)),
        ("any", "zero", (3, 2 / 3)),
    ],
)
def test_a_unit_s_events_become_one_value(
    database: Engine, tmp_path: Path, aggregation: str, missing: str, expected: tuple[int, float]
) -> None:
    experiment = start(metric=metric(aggregation=aggregation, missing=missing))
    load(
        tmp_path,
        [
            *(assignment(user, "red") for user in ("u1", "u2", "u3")),
            event("u1", 6, event_timestamp="2026-01-04T00:00:00Z"),
            event("u1", 4, event_timestamp="2026-01-03T00:00:00Z"),
            event("u2", 4),
            event("u3", 99, event_type="visit"),
        ],
    )
    look(experiment)
    (row,) = rows_of(
        database,
        "SELECT n, mean FROM variant_metric vm JOIN ab_variants v ON v.id = vm.variant_id "
        "WHERE v.variant_name = 'red'",
    )
    assert row == pytest.approx(expected)


def test_without_new_data_there_is_no_new_look(database: Engine, tmp_path: Path) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    load(tmp_path, arms(LOW, HIGH))
    assert not look(experiment).is_skipped
    again = look(experiment)
    assert (again.is_skipped, again.message) == (True, "nothing is new since its last look")
    load(tmp_path, [event("red-0", 0.5, "another")], name="more")
    third = look(experiment)
    assert not third.is_skipped
    assert rows_of(database, "SELECT max(look_number), count(*) FROM variant_metric") == [(2, 4)]
    assert rows_of(database, "SELECT count(*) FROM headway.decision") == [(2,)]


def test_a_repeated_tick_of_one_run_does_nothing_twice(
    database: Engine, run: ledger.RunInfo, tmp_path: Path
) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    load(tmp_path, arms(LOW, HIGH))
    fold_now(experiment)
    first = steps.analyze_batch(experiment_ids=[experiment], suites=PASSED)
    assert not first[0].is_skipped
    load(tmp_path, [event("red-0", 0.5, "another")], name="more")
    fold_now(experiment)
    assert steps.analyze_batch(experiment_ids=[experiment], suites=PASSED) == first


def test_the_same_data_are_decided_once_the_quality_gate_opens(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    broken = ("ab_metrics: a value is a finite number",)
    failed = SuiteFindings(failed_in={experiment: broken})
    closed = look(experiment, failed)
    assert (closed.winner, closed.is_over) == (None, False)
    assert "finite number" in closed.message
    assert rows_of(database, "SELECT statistical_significance FROM ab_experiments") == [(None,)]
    assert look(experiment, failed).is_skipped
    opened = look(experiment)
    assert opened.winner == "red"
    assert opened.verdict is not None
    assert opened.verdict.details["look_number"] == 2


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_value_that_is_not_finite_closes_the_gate_and_nothing_breaks(
    database: Engine, run: ledger.RunInfo, tmp_path: Path, value: str
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    with database.begin() as connection:
        connection.execute(
            text("UPDATE ab_metrics SET event_value = :v WHERE event_id = 'e-red-1'"), {"v": value}
        )
    analysis = look(experiment, steps.check_experiment_data())
    assert analysis.winner is None
    assert "a value is a finite number" in analysis.message


def test_the_planned_sample_completes_an_experiment_without_a_winner(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(planned_sample_size=200)
    load(tmp_path, arms(LOW, LOW))
    assert look(experiment).is_over
    assert rows_of(database, STANDS) == [("completed", None)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("planned_sample_size = 250", "planned_units was 400, is 250"),
        ("alpha = 0.4", "alpha was 0.05, is 0.4"),
    ],
)
def test_a_plan_that_is_changed_between_looks_decides_nothing_until_it_is_put_back(
    database: Engine, tmp_path: Path, change: str, said: str
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, LOW))
    look(experiment)
    load(tmp_path, arms(LOW, HIGH, start=100), name="more")
    with database.begin() as connection:
        connection.execute(text(f"UPDATE experiment_metric SET {change}"))
    changed = look(experiment)
    assert (changed.winner, changed.is_over) == (None, False)
    assert said in changed.message
    with database.begin() as connection:
        connection.execute(
            text("UPDATE experiment_metric SET planned_sample_size = 400, alpha = 0.05")
        )
    assert look(experiment).is_over


def test_what_fails_before_the_looks_stops_none_but_names_no_winner(
    database: Engine, tmp_path: Path
) -> None:
    start()
    load(tmp_path, arms(LOW, HIGH))
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE waiting_event RENAME TO gone"))
        connection.execute(text("ALTER TABLE suite_check RENAME TO gone_too"))
    with pytest.raises(ItemsFailed) as failed:
        run_by_ledger(analyze_experiments, {})
    assert set(failed.value.failures) == {"waiting events", "data checks"}
    [(verdict, code)] = rows_of(
        database, "SELECT verdict, reasons -> 0 ->> 'code' FROM headway.decision"
    )
    assert (verdict, code) == ("none", "suite-unknown")


def test_an_experiment_goes_on_after_its_winner_if_it_is_told_to(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(is_stopped_at_winner=False)
    load(tmp_path, arms(LOW, HIGH))
    assert not look(experiment).is_over
    assert rows_of(database, STANDS) == [("active", "red")]
    load(tmp_path, arms(LOW, HIGH, start=100), name="more")
    assert look(experiment).is_over


@pytest.mark.parametrize("status", ["paused", "completed", "archived"])
def test_only_active_experiments_are_looked_at(
    database: Engine, run: ledger.RunInfo, tmp_path: Path, status: str
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    with database.begin() as connection:
        connection.execute(
            text("UPDATE ab_experiments SET status = CAST(:s AS experiment_status)"), {"s": status}
        )
    assert steps.list_due_experiments() == []
    assert look(experiment).message == f"it is {status}"


def test_two_looks_at_once_are_one(database: Engine, tmp_path: Path) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    load(tmp_path, arms(LOW, HIGH))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(look, [experiment, experiment]))
    assert sorted(analysis.is_skipped for analysis in found) == [False, True]


def test_units_are_assigned_and_events_recorded_while_a_look_is_going_on(database: Engine) -> None:
    experiment = start()
    lock = load_queries("tasks.experiments.analysis")["lock_experiments"]
    with database.begin() as looking, database.begin() as application:
        looking.execute(lock, {"experiment_ids": [experiment]})
        application.execute(text("SET LOCAL lock_timeout = '2s'"))
        application.execute(text("SELECT assign_variant('buttons', 'u1')"))
        application.execute(text("SELECT record_event('buttons', 'u1', 'buy', 1.5, 'e1')"))


def test_an_unknown_experiment_and_one_without_a_control_are_named(
    database: Engine, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        look("00000000-0000-0000-0000-000000000000")
    experiment = start()
    with database.begin() as connection:
        connection.execute(text("UPDATE ab_variants SET is_control = false"))
    with pytest.raises(InputError, match="no control variant"):
        look(experiment)


def test_every_decision_replays_to_the_same_verdict(database: Engine, tmp_path: Path) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    for part, values in enumerate((LOW, HIGH, LOW)):
        load(tmp_path, arms(LOW, values, start=100 * part), name=f"part{part}")
        look(experiment)
    load_rules()
    with database.connect() as connection:
        report = replay(connection)
    assert (report.replayed, report.differences) == (3, ())


def test_the_same_plan_starts_an_experiment_once_and_another_is_refused(
    database: Engine,
) -> None:
    first = start()
    assert start() == first
    with new_run():
        assert not steps.create_experiment(plan=plan(), is_started=True).is_new
    with pytest.raises(Refused, match=r"\[plan-differs\].*planned_sample_size"):
        start(planned_sample_size=500)
    with pytest.raises(Refused, match=r"\[metric-differs\].*event_type"):
        start(name="prices", metric=metric(event_type="visit"))
    assert rows_of(database, "SELECT count(*) FROM ab_experiments") == [(1,)]
    assert rows_of(database, "SELECT count(*) FROM ab_variants") == [(2,)]


def test_a_unit_asks_once_and_keeps_its_variant(database: Engine, tmp_path: Path) -> None:
    start()
    load(tmp_path, [assignment("given", "red")])
    with database.begin() as tx:
        assert get_variant(tx, "buttons", "given") == "red"
        got = get_variant(tx, "buttons", "new")
        assert got == ("control" if bucket(salt_of("buttons"), "new") < 0.5 else "red")
        tx.execute(text("UPDATE ab_variants SET traffic_weight = is_control::int"))
        assert get_variant(tx, "buttons", "new") == got
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
        assert get_variant(tx, "buttons", "new") == got
        assert get_variant(tx, "buttons", "later") is None
        with pytest.raises(NotFound, match="no experiment is called 'nothing'"):
            get_variant(tx, "nothing", "new")
    assert rows_of(database, "SELECT count(*) FROM ab_assignments") == [(2,)]


def test_where_experiments_stand_and_what_was_last_seen_can_be_read(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    with database.connect() as connection:
        with pytest.raises(NotFound, match="not been analysed"):
            latest_analysis(connection, "buttons")
        with pytest.raises(NotFound, match="no experiment"):
            latest_analysis(connection, "nothing")
    load(tmp_path, arms(LOW, HIGH))
    analysis = look(experiment)
    with database.connect() as connection:
        (status,) = experiment_status(connection)
        latest = latest_analysis(connection, "buttons")
    assert (status.status, status.looks, status.winner) == ("completed", 1, "red")
    assert latest.analysis == analysis
    assert latest.markdown.startswith("# buttons: red wins")


def test_the_data_checks_pass_on_what_the_steps_wrote(
    database: Engine, run: ledger.RunInfo, tmp_path: Path
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    assert steps.check_experiment_data() == PASSED


def test_a_failed_and_an_impossible_data_check_are_told_apart(
    database: Engine, tmp_path: Path
) -> None:
    start()
    load(tmp_path, arms(LOW, HIGH))
    with database.begin() as connection:
        connection.execute(text("UPDATE ab_variants SET traffic_weight = 0.9"))
    with new_run():
        failed = steps.check_experiment_data()
    assert list(failed.failed_in.values()) == [
        ("ab_variants: the weights of an experiment sum to 1",)
    ]
    with database.begin() as connection:
        connection.execute(text("UPDATE ab_variants SET traffic_weight = 0.5"))
        connection.execute(text("ALTER TABLE ab_metrics RENAME event_value TO amount"))
    with new_run():
        unknown = steps.check_experiment_data()
    assert "ab_metrics" in unknown.unknown[0]


ROOMS = ("analysis", "assignment", "definition", "ingestion", "reporting")


def test_every_named_query_can_be_planned(database: Engine) -> None:
    queries = {
        name: query
        for room in ROOMS
        for name, query in load_queries(f"tasks.experiments.{room}").items()
    }
    with database.begin() as connection:
        for name in [name for name in queries if name.startswith("create_")]:
            connection.execute(queries.pop(name))
        _explain(connection, queries["choose_units"], "CREATE TEMPORARY TABLE chosen_unit AS")
        for query in queries.values():
            if "TRUNCATE" not in query.text:  # has no plan
                _explain(connection, query)


def _explain(connection: Any, query: Any, how: str = "EXPLAIN") -> None:
    parameters = dict.fromkeys(query.compile().params)
    connection.execute(text(f"{how} {query.text}"), parameters)
