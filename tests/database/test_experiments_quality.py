"""The quality gate on real rows: each check passes, fails and knows when it cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from tasks.database import load_queries
from tasks.experiments.folding.folding import fold
from tasks.experiments.quality.gathering import gather
from tasks.experiments.quality.model import QualityCheck, SuiteFindings
from tasks.experiments.quality.registry import quality_checks
from tests.conftest import created_database
from tests.database import experiments, quality_rows
from tests.database.quality_rows import CONTROL, EXPERIMENT, OTHER, RED, SPEND

SOUND = SuiteFindings()


@pytest.fixture(scope="module")
def filled(server_url: str, template: str) -> Iterator[Engine]:
    """Two sound experiments; what a test changes is rolled back."""
    with created_database(server_url, template) as engine:
        with engine.begin() as connection:
            quality_rows.build(connection)
            connection.exec_driver_sql("ANALYZE")
        yield engine


@pytest.fixture
def tx(filled: Engine) -> Iterator[Connection]:
    with filled.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def judged(tx: Connection, suites: SuiteFindings | None = SOUND) -> dict[str, QualityCheck]:
    return {check.name: check for check in gather(tx, [EXPERIMENT], suites)[EXPERIMENT]}


def test_sound_experiments_pass_every_check_and_take_one_statement(tx: Connection) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(tx.engine, "before_cursor_execute", note)
    try:
        found = gather(tx, [EXPERIMENT, OTHER], SOUND)
    finally:
        event.remove(tx.engine, "before_cursor_execute", note)
    assert len([statement for statement in statements if "SAVEPOINT" not in statement]) == 1
    for checks in found.values():
        assert [check.name for check in checks] == quality_checks.names()
        assert {(check.name, check.message) for check in checks if check.outcome != "passed"} == (
            set()
        )


AGO = "headway.clock_now() - interval"
MOST_OF_RED = f"variant_id = '{RED}' AND user_id > 'red-15'"
LOSE_MOST_OF_RED = f"""
    DELETE FROM ab_metrics WHERE assignment_id IN (SELECT id FROM ab_assignments
                                                   WHERE {MOST_OF_RED});
    DELETE FROM ab_assignments WHERE {MOST_OF_RED}"""
SECOND_EPOCH = f"INSERT INTO allocation (experiment_id, epoch) VALUES ('{EXPERIMENT}', 2)"
FAILURES = {
    "freshness": (
        f"UPDATE ab_metrics SET created_at = {AGO} '30 hours'",
        "no event has come for 30 h",
    ),
    "freshness of nothing": ("DELETE FROM ab_metrics", "since it was started 240 h ago"),
    "metric-freshness": (
        f"UPDATE ab_metrics SET created_at = {AGO} '31 hours' WHERE event_type = 'crash'",
        "metric 'crashes': its events (crash) stopped 30 h before",
    ),
    "srm": (LOSE_MOST_OF_RED, "units assigned did not split as planned: control 200 (planned"),
    "srm-sequential": (LOSE_MOST_OF_RED, "units assigned did not split as planned"),
    "srm-values": (
        f"""DELETE FROM ab_metrics m USING ab_assignments a
        WHERE a.id = m.assignment_id AND a.{MOST_OF_RED} AND m.event_type = 'buy'""".replace(
            "AND user_id", "AND a.user_id"
        ),
        "units with a value did not split as planned",
    ),
    "srm-dimensions": (
        f"""UPDATE ab_assignments SET metadata = '{{"country": "at"}}'
        WHERE variant_id = '{RED}' AND metadata ->> 'country' = 'fr'""",
        "units assigned where country is",
    ),
    "closed-arm": (
        f"""{SECOND_EPOCH};
        INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
        VALUES ('{EXPERIMENT}', 2, '{CONTROL}', 1), ('{EXPERIMENT}', 2, '{RED}', 0);
        UPDATE ab_assignments SET epoch = 2 WHERE user_id = 'red-1'""",
        "red 1 in epoch 2",
    ),
    "two-arms in rejected rows": (
        """INSERT INTO ingest_batch (source, content_sha256, batch_number, first_row, row_count,
            assignment_count, event_count, duplicate_count, rejected_count)
        VALUES ('a.csv', 'x', 1, 1, 9, 0, 0, 0, 9);
        INSERT INTO rejected_row (ingest_batch_id, content_sha256, experiment_name, line_number,
            raw, reason_code, message)
        SELECT b.id, 'x', 'buttons', n, jsonb_build_object('user_id', 'control-' || n),
            'variant-mismatch', '' FROM ingest_batch b, generate_series(1, 4) n""",
        "rows of 4 of 400 units name an arm",
    ),
    "two-arms in events": (
        f"UPDATE ab_metrics SET variant_id = '{RED}' WHERE event_id LIKE 'buycontrol-1__'",
        "sampled units have events of another arm",
    ),
    "fan-out": (
        """INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type,
            event_value, event_timestamp, event_id)
        SELECT experiment_id, variant_id, assignment_id, event_type, event_value,
            event_timestamp, event_id || '-again' FROM ab_metrics WHERE event_type = 'buy'""",
        "50% of 100 buy events repeat another",
    ),
    "missing-metric": (
        f"""DELETE FROM ab_metrics WHERE variant_id = '{RED}' AND event_type = 'crash';
        UPDATE metric SET is_higher_better = false WHERE name = 'crashes'""",
        "crashes: red has no event 'crash' though others do",
    ),
    "missing-metric everywhere": (
        "DELETE FROM ab_metrics WHERE event_type = 'buy'",
        "spend: none of 400 units has an event 'buy'",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_check_fails_and_says_what_it_saw(tx: Connection, case: str) -> None:
    sql, said = FAILURES[case]
    quality_rows.change(tx, sql)
    check = judged(tx)[case.split(maxsplit=1)[0]]
    assert (check.outcome, said in check.message) == ("failed", True), check


def test_an_arm_without_events_on_which_nothing_rests_is_only_told(tx: Connection) -> None:
    crashes = f"DELETE FROM ab_metrics WHERE variant_id = '{RED}' AND event_type = 'crash'"
    quality_rows.change(tx, crashes)
    assert judged(tx)["missing-metric"].message.endswith("nobody: its units send other events")
    quality_rows.change(tx, f"DELETE FROM ab_metrics WHERE variant_id = '{RED}'")
    tx.exec_driver_sql(
        "UPDATE metric SET missing = 'zero'; UPDATE moment_statistic SET n = assigned"
    )
    assert judged(tx)["missing-metric"].outcome == "failed"
    tx.exec_driver_sql("UPDATE experiment_plan SET bandit = '{}'")
    check = judged(tx)["missing-metric"]
    assert (check.outcome, check.message.count("a bandit gives its traffic to others")) == (
        "passed",
        2,
    )


def test_arms_that_differed_before_they_were_assigned_fail(tx: Connection) -> None:
    tx.exec_driver_sql(
        "UPDATE moment_statistic SET covariate_mean = 5.4 "
        f"WHERE variant_id = '{RED}' AND metric_id = '{SPEND}'"
    )
    check = judged(tx)["imbalance"]
    assert check.outcome == "failed"
    assert "spend in red: 5.4, in control: 5, p = " in check.message


UNKNOWN = {
    "freshness": f"""DELETE FROM ab_metrics;
        UPDATE ab_experiments SET started_at = {AGO} '2 hours'""",
    "metric-freshness": "DELETE FROM ab_metrics",
    "srm": "DELETE FROM ab_metrics; DELETE FROM ab_assignments",
    "srm-sequential": "DELETE FROM allocation_weight",
    "srm-values": "DELETE FROM ab_metrics",
    "srm-dimensions": "DELETE FROM allocation_weight",
    "closed-arm": "UPDATE ab_assignments SET epoch = 7",
    "two-arms": "DELETE FROM ab_metrics; DELETE FROM ab_assignments",
    "imbalance": "DELETE FROM ab_metrics",
    "fan-out": "DELETE FROM ab_metrics",
    "missing-metric": """DELETE FROM ab_metrics WHERE event_type = 'buy';
        DELETE FROM ab_metrics m USING ab_assignments a
        WHERE a.id = m.assignment_id AND a.user_id > 'control-1';
        DELETE FROM ab_assignments WHERE user_id > 'control-1'""",
    "overrides": f"DELETE FROM experiment_metric WHERE metric_id = '{SPEND}'",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_check_is_unknown_where_it_cannot_be_told(tx: Connection, name: str) -> None:
    quality_rows.change(tx, UNKNOWN[name])
    check = judged(tx)[name]
    assert (check.outcome, bool(check.message)) == ("unknown", True), check


def test_the_suites_findings_concern_those_in_whose_rows_they_lie(tx: Connection) -> None:
    rule = ("ab_metrics: a value is a finite number",)
    broken = SuiteFindings(failed_in={str(EXPERIMENT): rule})
    found = gather(tx, [EXPERIMENT, OTHER], broken)
    outcomes = {
        key: next(check.outcome for check in checks if check.name == "suite")
        for key, checks in found.items()
    }
    assert outcomes == {EXPERIMENT: "failed", OTHER: "passed"}
    assert judged(tx, SuiteFindings(failed=rule))["suite"].outcome == "failed"
    assert judged(tx, SuiteFindings(unknown=rule))["suite"].outcome == "unknown"
    assert judged(tx, None)["suite"].outcome == "unknown"


def test_what_cannot_be_read_makes_unknown_what_needs_it_and_nothing_else(tx: Connection) -> None:
    tx.exec_driver_sql("ALTER TABLE rejected_row RENAME raw TO document")
    checks = judged(tx)
    assert {name for name, check in checks.items() if check.outcome != "passed"} == {"two-arms"}
    assert checks["two-arms"].outcome == "unknown"
    assert "rejected could not be read" in checks["two-arms"].message


def test_a_passing_trouble_is_raised_so_that_the_step_is_tried_again(tx: Connection) -> None:
    tx.exec_driver_sql("SET LOCAL statement_timeout = '1ms'")
    with pytest.raises(OperationalError, match="statement timeout"):
        gather(tx, [EXPERIMENT, OTHER] * 50, SOUND)


def test_an_experiment_that_is_gone_is_unknown(tx: Connection) -> None:
    gone = UUID(int=1)
    (check,) = gather(tx, [gone], SOUND)[gone]
    assert (check.outcome, check.message) == ("unknown", f"experiment {gone} does not exist")


def test_an_experiment_that_is_not_active_expects_no_data(tx: Connection) -> None:
    quality_rows.change(
        tx,
        f"""UPDATE ab_metrics SET created_at = {AGO} '30 days';
        UPDATE ab_experiments SET status = 'completed'""",
    )
    checks = judged(tx)
    for name in ("freshness", "metric-freshness"):
        assert (checks[name].outcome, checks[name].message) == (
            "passed",
            "it is completed: no new data are expected",
        )


def test_units_that_came_before_a_new_split_are_held_to_the_old_one(tx: Connection) -> None:
    quality_rows.change(
        tx,
        f"""{SECOND_EPOCH};
        INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
        VALUES ('{EXPERIMENT}', 2, '{CONTROL}', 0.9), ('{EXPERIMENT}', 2, '{RED}', 0.1);
        INSERT INTO ab_assignments (experiment_id, variant_id, user_id, bucket_value, epoch)
        SELECT '{EXPERIMENT}', CASE WHEN u <= 360 THEN '{CONTROL}' ELSE '{RED}' END::uuid,
            'late-' || u, 0.5, 2 FROM generate_series(1, 400) u;
        INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type)
        SELECT experiment_id, variant_id, id, 'buy' FROM ab_assignments WHERE epoch = 2""",
    )
    checks = judged(tx)
    for name in ("srm", "srm-sequential", "srm-values", "srm-dimensions", "closed-arm"):
        assert checks[name].outcome == "passed", checks[name]
    assert checks["srm"].figures["units"] == 800


# Events arrived so many days ago, an hour earlier at the time of the day.
ARRIVED = """UPDATE ab_experiments SET started_at = headway.clock_now() - interval '40 days';
    UPDATE ab_metrics m SET created_at = headway.clock_now() - interval '1 hour'
        - make_interval(days => {days})
    FROM (SELECT id, row_number() OVER () AS n FROM ab_metrics) o WHERE o.id = m.id"""


def test_a_weekly_pause_is_no_silence_but_an_outage_is(tx: Connection) -> None:
    weekly = "(ARRAY[3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 17])[mod(o.n, 11) + 1]"
    quality_rows.change(tx, ARRIVED.format(days=weekly))
    paused = judged(tx)["freshness"]
    assert paused.outcome == "passed", paused
    quality_rows.change(tx, ARRIVED.format(days="(3 + mod(o.n, 14))::int"))
    assert judged(tx)["freshness"].outcome == "failed"


def test_many_overrides_are_a_warning(tx: Connection) -> None:
    assert judged(tx)["overrides"].message == ""
    quality_rows.change(
        tx, "UPDATE ab_assignments SET is_override = true WHERE user_id ~ '-1[0-9]*$'"
    )
    check = judged(tx)["overrides"]
    assert check.outcome == "passed"
    assert "the arm of 222 of 400 units was chosen by a person" in check.message


def test_aggregated_statistics_are_judged_by_what_they_have(tx: Connection) -> None:
    tx.exec_driver_sql("""
        INSERT INTO aggregate_statistic (experiment_id, metric_id, variant_id, observed_at,
            assigned, n, mean, m2, source)
        SELECT em.experiment_id, em.metric_id, v.id, headway.clock_now() - interval '1 hour',
            200, 200, 1, 1, 'warehouse'
        FROM experiment_metric em JOIN ab_variants v USING (experiment_id);
        DELETE FROM ab_metrics;
        DELETE FROM ab_assignments;
        DELETE FROM moment_statistic WHERE dimension <> '';
        UPDATE moment_statistic SET n = 200, events = 0, converted = 0""")
    checks = judged(tx)
    assert {name for name, check in checks.items() if check.outcome != "passed"} == set()
    assert checks["fan-out"].message.startswith("others aggregated")
    tx.exec_driver_sql(f"UPDATE moment_statistic SET n = 0 WHERE variant_id = '{RED}'")
    assert judged(tx)["missing-metric"].outcome == "failed"


@pytest.mark.parametrize("missing", ["exclude", "zero"])
def test_units_whose_windows_are_open_lack_no_event_yet(tx: Connection, missing: str) -> None:
    change = "UPDATE metric SET window_hours = 240, missing = '{}' WHERE id = '{}'"
    tx.exec_driver_sql(change.format(missing, SPEND))
    fold(tx, [str(EXPERIMENT)])
    check = judged(tx)["missing-metric"]
    assert check.outcome == "unknown"
    said = "spend: the windows of 400 units are still open, the first until 20"
    assert check.message.startswith(said), check.message


def test_every_named_query_can_be_planned(tx: Connection) -> None:
    for query in load_queries("tasks.experiments.quality").values():
        tx.execute(text(f"EXPLAIN {query.text}"), {"experiment_ids": [str(EXPERIMENT)]})


def test_a_loaded_and_folded_experiment_passes_every_check(
    database: Engine, tmp_path: Path
) -> None:
    experiment = UUID(experiments.start())
    values = [float(number) for number in range(60)]
    experiments.load(tmp_path, experiments.arms(values, values))
    with database.begin() as connection:
        fold(connection, [str(experiment)])
        checks = gather(connection, [experiment], SOUND)[experiment]
    assert [check for check in checks if check.outcome != "passed"] == []
