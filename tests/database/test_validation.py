"""Tables are validated on a real database; nothing of it leaves but counts and reasons."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

import expectations
from expectations.suite import TableSuite, because
from tasks import clock
from tasks.errors import UnknownName
from tasks.validation import Outcome, ValidationSummary, validate_tables

SUITES = ["ab_experiments", "ab_variants", "ab_assignments", "ab_metrics"]
EXPERIMENT = "00000000-0000-0000-0000-0000000000e1"
OTHER = "00000000-0000-0000-0000-0000000000e2"
CONTROL = "00000000-0000-0000-0000-0000000000c1"
SMALL = "00000000-0000-0000-0000-0000000000c2"
ELSEWHERE = "00000000-0000-0000-0000-0000000000c3"
ANNA = "00000000-0000-0000-0000-0000000000a1"
ROWS = f"""
INSERT INTO ab_experiments (id, experiment_name, status, started_at) VALUES
    ('{EXPERIMENT}', 'class-size', 'active', now()), ('{OTHER}', 'draft', 'draft', NULL);
INSERT INTO ab_variants (id, experiment_id, variant_name, is_control, traffic_weight) VALUES
    ('{CONTROL}', '{EXPERIMENT}', 'regular', true, 0.7),
    ('{SMALL}', '{EXPERIMENT}', 'small', false, 0.3),
    ('{ELSEWHERE}', '{OTHER}', 'incomplete', false, 0.1);
INSERT INTO ab_assignments (id, experiment_id, variant_id, user_id, bucket_value) VALUES
    ('{ANNA}', '{EXPERIMENT}', '{SMALL}', 'anna', 0.99);
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value) VALUES
    ('{EXPERIMENT}', '{SMALL}', '{ANNA}', 'score', 12.5);
"""


@pytest.fixture
def filled(database: Engine) -> Engine:
    change(database, ROWS)
    return database


@pytest.fixture
def odd_suite() -> Iterator[str]:
    """A suite of another package: a quantile, a check that writes, one without owner or reason."""
    name = "odd"
    expectations.suites.register(name)(TableSuite("ab_metrics", _oddities))
    yield name
    del expectations.suites._items[name]


def _oddities(gxe: Any) -> list[Any]:
    return [
        gxe.ExpectColumnQuantileValuesToBeBetween(
            column="event_value",
            quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 100]]},
            meta=because("tests", "the median is a score"),
        ),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT nextval('written') FROM {batch}",
            meta=because("tests", "a check writes nothing"),
        ),
        gxe.ExpectColumnDistinctValuesToBeInSet(column="event_type", value_set=["sale"]),
    ]


def change(engine: Engine, sql: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)


def validate(engine: Engine, *suites: str, **options: Any) -> tuple[ValidationSummary, ...]:
    return validate_tables(engine.url, suites, **options)


def outcomes(summary: ValidationSummary) -> dict[str | None, Outcome]:
    return {expectation.reason: expectation.outcome for expectation in summary.expectations}


def test_well_formed_rows_pass_every_suite(filled: Engine) -> None:
    summaries = validate(filled, *SUITES)
    assert [(s.suite, s.table, s.outcome) for s in summaries] == [
        (name, name, Outcome.PASSED) for name in SUITES
    ]


def test_empty_tables_pass(database: Engine) -> None:
    assert {s.outcome for s in validate(database, *SUITES)} == {Outcome.PASSED}


@pytest.mark.parametrize(
    ("suite", "sql", "reason"),
    [
        ("ab_experiments", "SET experiment_name = ' '", "a name is not blank"),
        ("ab_experiments", "SET minimum_sample_size = 0", "no verdict without at least one unit"),
        (
            "ab_experiments",
            "SET statistical_significance = 'NaN'",
            "a significance is a probability",
        ),
        ("ab_experiments", "SET started_at = NULL", "what has left draft has a start"),
        (
            "ab_experiments",
            "SET completed_at = started_at - interval '1 day'",
            "an experiment ends after it starts",
        ),
        (
            "ab_experiments",
            "SET winner_variant = 'incomplete'",
            "the winner is one of the experiment's variants",
        ),
        (
            "ab_experiments",
            "SET created_at = now() + interval '1 day'",
            "nothing was created in the future",
        ),
        ("ab_variants", "SET variant_name = ''", "a name is not blank"),
        ("ab_variants", "SET traffic_weight = 0.2", "the weights of an experiment sum to 1"),
        ("ab_variants", "SET is_control = true", "an experiment has one control"),
        ("ab_variants", "SET conversions = 1", "only units that took part can convert"),
        ("ab_variants", "SET conversions = -1", "a count is not negative"),
        ("ab_variants", "SET total_value = 'Infinity'", "a total is a finite number"),
        (
            "ab_variants",
            "SET confidence_interval_lower = 2, confidence_interval_upper = 1",
            "an interval's upper end is not below its lower end",
        ),
        (
            "ab_assignments",
            f"SET variant_id = '{ELSEWHERE}'",
            "the variant belongs to the assignment's experiment",
        ),
        ("ab_assignments", "SET user_id = ''", "a unit has an id"),
        ("ab_assignments", "SET bucket_value = 1", "a bucket lies in [0, 1)"),
        (
            "ab_assignments",
            "SET has_converted = true",
            "a conversion has a time, and only a conversion has one",
        ),
        (
            "ab_assignments",
            "SET assigned_at = now() + interval '1 hour'",
            "nobody is assigned in the future",
        ),
        (
            "ab_assignments",
            "SET has_converted = true, converted_at = now() + interval '1 hour'",
            "nobody converts in the future",
        ),
        (
            "ab_metrics",
            f"SET experiment_id = '{OTHER}'",
            "the assignment belongs to the event's experiment",
        ),
        (
            "ab_metrics",
            f"SET variant_id = '{CONTROL}'",
            "an event counts for the variant that its unit was given",
        ),
        ("ab_metrics", "SET event_type = ' '", "an event has a type"),
        ("ab_metrics", "SET event_value = 'NaN'", "a value is a finite number"),
        (
            "ab_metrics",
            "SET event_timestamp = now() + interval '1 hour'",
            "nothing happens in the future",
        ),
    ],
)
def test_a_broken_rule_fails_its_expectation_and_no_other(
    filled: Engine, suite: str, sql: str, reason: str
) -> None:
    row = {"ab_experiments": EXPERIMENT, "ab_variants": SMALL}.get(suite)
    change(filled, f"UPDATE {suite} {sql}" + (f" WHERE id = '{row}'" if row else ""))
    [summary] = validate(filled, suite)
    assert [(p.reason, p.outcome, p.unexpected_count) for p in summary.problems] == [
        (reason, Outcome.FAILED, 1)
    ]
    assert summary.outcome is Outcome.FAILED
    assert summary.has_critical_failure == (summary.problems[0].severity == "critical")


def test_an_experiment_that_has_left_draft_compares_two_variants(filled: Engine) -> None:
    change(filled, f"UPDATE ab_experiments SET status = 'paused' WHERE id = '{OTHER}'")
    change(filled, f"UPDATE ab_variants SET is_control = true WHERE id = '{ELSEWHERE}'")
    change(filled, f"UPDATE ab_variants SET traffic_weight = 1 WHERE id = '{ELSEWHERE}'")
    [summary] = validate(filled, "ab_variants")
    assert [p.reason for p in summary.problems] == ["an experiment compares at least two variants"]


def test_a_missing_table_could_not_be_checked(filled: Engine) -> None:
    change(filled, "DROP TABLE ab_metrics CASCADE")
    assignments, metrics = validate(filled, "ab_assignments", "ab_metrics")
    assert assignments.outcome is Outcome.PASSED
    assert metrics.outcome is Outcome.COULD_NOT_BE_CHECKED
    assert set(outcomes(metrics).values()) == {Outcome.COULD_NOT_BE_CHECKED}
    assert "ab_metrics" in str(metrics.expectations[0].message)
    assert not metrics.has_critical_failure


def test_a_missing_column_leaves_only_its_own_check_open(filled: Engine) -> None:
    change(filled, "ALTER TABLE ab_metrics DROP COLUMN event_type CASCADE")
    [summary] = validate(filled, "ab_metrics")
    assert summary.outcome is Outcome.COULD_NOT_BE_CHECKED
    assert [(p.reason, p.outcome) for p in summary.problems] == [
        ("an event has a type", Outcome.COULD_NOT_BE_CHECKED)
    ]
    assert "event_type" in str(summary.problems[0].message)


def test_a_failed_check_outweighs_one_that_could_not_run(filled: Engine) -> None:
    change(filled, "ALTER TABLE ab_metrics DROP COLUMN event_type CASCADE")
    change(filled, "UPDATE ab_metrics SET event_value = 'NaN'")
    [summary] = validate(filled, "ab_metrics")
    assert summary.outcome is Outcome.FAILED
    assert {each.outcome for each in summary.problems} == {
        Outcome.FAILED,
        Outcome.COULD_NOT_BE_CHECKED,
    }
    assert len(summary.problems) == 2


def test_a_check_that_takes_too_long_could_not_be_checked(filled: Engine) -> None:
    with filled.begin() as blocker:
        blocker.execute(text("LOCK TABLE ab_metrics IN ACCESS EXCLUSIVE MODE"))
        [summary] = validate(filled, "ab_metrics", statement_timeout=timedelta(milliseconds=100))
    assert summary.outcome is Outcome.COULD_NOT_BE_CHECKED
    assert "timeout" in str(summary.expectations[0].message)


def test_expectations_come_in_the_order_of_their_suite(filled: Engine) -> None:
    change(filled, "ALTER TABLE ab_metrics DROP COLUMN event_type CASCADE")
    [summary] = validate(filled, "ab_metrics")
    listed = [e.meta["reason"] for e in expectations.build("ab_metrics").expectations if e.meta]
    assert [e.reason for e in summary.expectations] == listed


def test_no_row_and_no_password_is_in_the_summary(filled: Engine) -> None:
    role = f"checker_{uuid4().hex[:12]}"
    url = filled.url.set(username=role, password="pa$HOME-${word}")
    change(filled, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{url.password}'")
    change(filled, "UPDATE ab_assignments SET user_id = E'\\t', bucket_value = 1.0625")
    change(filled, "UPDATE ab_metrics SET event_type = '   ', source = 'jane@example.org'")
    change(filled, "ALTER TABLE ab_variants DROP COLUMN total_value")
    try:
        found = "".join(s.model_dump_json() for s in validate_tables(url, SUITES))
    finally:
        change(filled, f"DROP ROLE {role}")
    assert "failed" in found
    assert "could-not-be-checked" in found
    for secret in ("pa$HOME", "postgresql", str(url.query.get("host")), "1.0625", "jane", "\\t"):
        assert secret not in found


def test_figures_of_any_expectation_are_json_and_sets_of_values_stay_behind(
    filled: Engine, odd_suite: str
) -> None:
    [summary] = validate(filled, odd_suite)
    restored = ValidationSummary.model_validate_json(summary.model_dump_json())
    assert restored == summary
    quantile, _, distinct = restored.expectations
    assert quantile.observed_value == {"quantiles": [0.5], "values": [12.5]}
    assert quantile.outcome is Outcome.PASSED
    assert distinct.outcome is Outcome.FAILED
    assert distinct.observed_value is None


def test_a_check_cannot_write(filled: Engine, odd_suite: str) -> None:
    change(filled, "CREATE SEQUENCE written")
    [summary] = validate(filled, odd_suite)
    check = summary.expectations[1]
    assert check.outcome is Outcome.COULD_NOT_BE_CHECKED
    assert "read-only transaction" in str(check.message)


def test_rows_of_a_shifted_clock_are_not_in_the_future(filled: Engine) -> None:
    with filled.begin() as connection:
        clock.shift(connection, timedelta(days=30))
    change(filled, "UPDATE ab_metrics SET event_timestamp = now() + interval '29 days'")
    assert validate(filled, "ab_metrics")[0].outcome is Outcome.PASSED


def test_a_database_without_the_ledger_is_validated_by_its_own_clock(filled: Engine) -> None:
    change(filled, "UPDATE ab_metrics SET event_timestamp = now() + interval '29 days'")
    change(filled, "DROP SCHEMA headway CASCADE")
    assert [p.reason for p in validate(filled, "ab_metrics")[0].problems] == [
        "nothing happens in the future"
    ]


def test_a_table_is_looked_up_along_the_search_path_of_the_url(filled: Engine) -> None:
    change(filled, "CREATE SCHEMA tenant; CREATE TABLE tenant.ab_metrics AS TABLE ab_metrics")
    change(filled, "UPDATE tenant.ab_metrics SET event_value = 'NaN'")
    url = filled.url.update_query_dict({"options": "-csearch_path=tenant,public"})
    [tenant] = validate_tables(url, ["ab_metrics", "ab_metrics"])
    assert [p.reason for p in tenant.problems] == ["a value is a finite number"]
    assert validate(filled, "ab_metrics")[0].outcome is Outcome.PASSED


def test_whoever_may_only_read_the_tables_can_validate_them(filled: Engine) -> None:
    role = f"reader_{uuid4().hex[:12]}"
    change(filled, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        change(filled, f"GRANT SELECT ON ab_metrics, ab_assignments TO {role}")
        metrics, variants = validate_tables(
            filled.url.set(username=role, password=role), ["ab_metrics", "ab_variants"]
        )
    finally:
        change(filled, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert metrics.outcome is Outcome.PASSED
    assert variants.outcome is Outcome.COULD_NOT_BE_CHECKED


def test_validations_leave_no_connection_behind(filled: Engine) -> None:
    change(filled, "ALTER TABLE ab_metrics DROP COLUMN event_type CASCADE")
    change(filled, "DROP TABLE ab_experiments CASCADE")
    for _ in range(5):
        validate(filled, "ab_metrics", "ab_experiments")
    open_connections = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'headway-validation'"
    )
    with filled.connect() as connection:
        assert connection.scalar(open_connections) == 0


def test_threads_of_one_process_validate_one_after_the_other(filled: Engine) -> None:
    change(filled, "UPDATE ab_metrics SET event_value = 'NaN'")
    names = ["ab_metrics", "ab_variants"] * 2
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: validate(filled, name)[0], names))
    assert [summary.table for summary in found] == names
    assert [summary.outcome for summary in found] == [Outcome.FAILED, Outcome.PASSED] * 2


def test_an_unknown_suite_is_refused_before_anything_is_checked(database: Engine) -> None:
    with pytest.raises(UnknownName, match="ab_metrics"):
        validate(database, "ab_metrics", "nothing")


def test_an_unreachable_database_is_a_failure_not_an_outcome(database: Engine) -> None:
    url = database.url.set(database="missing", password="pa$word")
    with pytest.raises(OperationalError) as caught:
        validate_tables(url, ["ab_metrics"])
    assert "pa$word" not in str(caught.value)
