"""The roles of revision 004 can do what they are for, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from tasks.migrations.validation import alembic_config

EXPERIMENT = """
WITH e AS (
    INSERT INTO ab_experiments (experiment_name, status) VALUES ('layout', 'active') RETURNING id
), m AS (
    INSERT INTO metric (name, kind, event_type, aggregation, missing)
    VALUES ('clicked', 'proportion', 'click', 'any', 'zero') RETURNING id
), em AS (
    INSERT INTO experiment_metric (experiment_id, metric_id, planned_sample_size)
    SELECT e.id, m.id, 100 FROM e, m
)
INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight, is_control)
SELECT e.id, v.name, v.weight, v.name = 'plain'
FROM e, (VALUES ('plain', 0.5), ('off', 0.0), ('bold', 0.5)) AS v (name, weight)
"""
ROLLOUT = (
    "INSERT INTO rollout (name, model_version, salt, policy) VALUES ('r', 'v2', 'rollout:1', '{}')"
)
SAMPLE = (
    "INSERT INTO health_sample (model_version, metric, value_sum, observed_at, source) "
    "VALUES ('v2', 'error-rate', 1, now(), 'me')"
)
DECISION = (
    "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, details, inputs) "
    "VALUES ('r', 1, 's', 'v', '[]', '{}', '{}')"
)
MIGRATION = (
    "INSERT INTO headway.migration_run (environment, revision, direction) "
    "VALUES ('local', '005', 'upgrade')"
)


@contextmanager
def acting_as(engine: Engine, role: str) -> Iterator[Connection]:
    """A transaction with the rights of the role; it is rolled back."""
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        yield connection
        transaction.rollback()


@pytest.fixture
def filled(database: Engine) -> Engine:
    with database.begin() as connection:
        connection.execute(text(EXPERIMENT))
        connection.execute(text(ROLLOUT))
    return database


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("headway_reader", "SELECT count(*) FROM ab_metrics"),
        ("headway_reader", "SELECT count(*) FROM headway.decision"),
        ("headway_reader", "SELECT should_use_new_model('u', 'v2')"),
        ("headway_reader", "SELECT assign_variant('layout', 'u')"),
        ("headway_reader", "SELECT record_health_sample('v2', 'error-rate', 1, 10)"),
        ("headway_writer", "UPDATE rollout SET percentage = 5"),
        ("headway_writer", "UPDATE ab_experiments SET status = 'paused'"),
        ("headway_writer", "SELECT * FROM rollout FOR UPDATE"),
        ("headway_writer", "INSERT INTO metric SELECT * FROM metric WHERE false"),
        ("headway_writer", DECISION),
        ("headway_writer", SAMPLE),
        ("headway_writer", "DELETE FROM headway.step"),
        ("headway_owner", "ALTER TABLE ab_variants ADD COLUMN note text"),
        ("headway_owner", MIGRATION),
    ],
)
def test_role_can_do_its_work(filled: Engine, role: str, statement: str) -> None:
    with acting_as(filled, role) as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("headway_reader", "INSERT INTO ab_assignments SELECT * FROM ab_assignments"),
        ("headway_reader", "INSERT INTO ab_metrics SELECT * FROM ab_metrics"),
        ("headway_reader", SAMPLE),
        ("headway_reader", "UPDATE ab_assignments SET has_converted = true"),
        ("headway_reader", "UPDATE rollout SET percentage = 100"),
        ("headway_reader", "DELETE FROM ab_metrics"),
        ("headway_reader", "SELECT * FROM headway.step"),
        ("headway_reader", "SELECT headway.shift_clock('1 day')"),
        ("headway_writer", "UPDATE ab_metrics SET variant_id = NULL"),
        ("headway_writer", "UPDATE event_correction SET previous = '{}'"),
        ("headway_writer", "DELETE FROM event_correction"),
        ("headway_writer", "UPDATE allocation_weight SET weight = 1"),
        ("headway_writer", "DELETE FROM ab_metrics"),
        ("headway_writer", "UPDATE rollout_change SET actor = 'nobody'"),
        ("headway_writer", "DELETE FROM rollout_change"),
        ("headway_writer", "UPDATE headway.decision SET verdict = 'x'"),
        ("headway_writer", "DELETE FROM headway.decision"),
        ("headway_writer", "TRUNCATE headway.decision"),
        ("headway_writer", "DELETE FROM headway.migration_run"),
        ("headway_writer", MIGRATION),
        ("headway_writer", "ALTER TABLE ab_variants ADD COLUMN note text"),
        ("headway_writer", "CREATE TABLE mine (x int)"),
        ("headway_owner", "DELETE FROM headway.decision"),
        ("headway_owner", "UPDATE headway.migration_run SET actor = 'nobody'"),
    ],
)
def test_role_can_do_no_more(filled: Engine, role: str, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        acting_as(filled, role) as connection,
    ):
        connection.execute(text(statement))


def test_a_user_without_a_role_may_not_write_through_the_functions(filled: Engine) -> None:
    nobody = f"nobody_{uuid.uuid4().hex[:8]}"
    with filled.begin() as connection:
        connection.execute(text(f"CREATE ROLE {nobody} NOLOGIN"))
    try:
        with (
            pytest.raises(ProgrammingError, match="permission denied for function"),
            acting_as(filled, nobody) as connection,
        ):
            connection.execute(text("SELECT record_health_sample('v2', 'error-rate', 1, 10)"))
    finally:
        with filled.begin() as connection:
            connection.execute(text(f"DROP ROLE {nobody}"))


def test_what_an_event_said_before_cannot_be_forged_by_a_table_of_one_s_own(filled: Engine) -> None:
    table = "CREATE TEMPORARY TABLE mine (id int, experiment_id uuid, event_id text)"
    trigger = (
        "CREATE TRIGGER forge BEFORE UPDATE ON mine "
        "FOR EACH ROW EXECUTE FUNCTION public.keep_event_correction()"
    )
    for role in ("headway_reader", "headway_writer"):
        with (
            pytest.raises(ProgrammingError, match="permission denied for function"),
            acting_as(filled, role) as connection,
        ):
            connection.execute(text(f"{table}; {trigger}"))


def test_functions_that_write_run_as_the_owner_with_a_fixed_search_path(database: Engine) -> None:
    with database.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT proname, proowner::regrole::text AS owner, proconfig FROM pg_proc "
                "WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1"
            )
        ).all()
    assert [row.proname for row in rows] == [
        "assign_variant",
        "keep_event_correction",
        "record_event",
        "record_health_sample",
        "track_event",
    ]
    for row in rows:
        assert row.owner == "headway_owner"
        assert row.proconfig[0].startswith("search_path=pg_catalog")
        assert row.proconfig[0].endswith("pg_temp")


def test_assignment_by_sql_is_the_one_that_python_computes(filled: Engine) -> None:
    from tasks.bucketing import bucket
    from tasks.experiments.assignment.choosing import salt_of
    from tasks.experiments.assignment.ranges import first_ranges, variant_at

    ranges = first_ranges([("plain", 0.5), ("bold", 0.5), ("off", 0.0)])
    with acting_as(filled, "headway_reader") as connection:
        for number in range(200):
            unit = f"user-{number}"
            given = connection.scalar(
                text("SELECT assign_variant('layout', :unit)"), {"unit": unit}
            )
            assert given == variant_at(ranges, bucket(salt_of("layout"), unit))


def test_assignment_stands_and_a_closed_experiment_gives_none(filled: Engine) -> None:
    assign = text("SELECT assign_variant('layout', 'ann', 's1')")
    with filled.begin() as connection:
        first = connection.scalar(assign)
        connection.execute(text("UPDATE ab_variants SET traffic_weight = 1 - traffic_weight"))
        connection.execute(text("UPDATE ab_experiments SET status = 'completed'"))
        assert connection.scalar(assign) == first
        assert connection.scalar(text("SELECT assign_variant('layout', 'bob')")) is None
        assert connection.scalar(text("SELECT count(*) FROM ab_assignments")) == 1


def test_event_is_recorded_once_and_converts_its_unit(filled: Engine) -> None:
    event = text("SELECT record_event('layout', 'ann', 'click', 1.5, 'e-1')")
    with acting_as(filled, "headway_reader") as connection:
        connection.execute(text("SELECT assign_variant('layout', 'ann')"))
        assert connection.scalar(text("SELECT record_event('layout', 'ann', 'look')")) is True
        converted = text("SELECT has_converted FROM ab_assignments")
        assert connection.scalar(converted) is False
        assert connection.scalar(event) is True
        assert connection.scalar(event) is False
        assert connection.scalar(converted) is True
        assert connection.scalar(text("SELECT count(*) FROM ab_metrics")) == 2


@pytest.mark.parametrize(
    "call",
    [
        "assign_variant('nothing', 'ann')",
        "record_event('layout', 'stranger', 'click')",
        "record_event('nothing', 'ann', 'click')",
        "track_event('nothing', 'ann', 'click')",
    ],
)
def test_unknown_names_are_refused_by_the_functions(filled: Engine, call: str) -> None:
    with pytest.raises(DBAPIError, match=r"there is no|is not assigned"), filled.begin() as tx:
        tx.execute(text(f"SELECT {call}"))


def test_user_who_may_not_become_owner_is_told_the_way_out(bootstrapped_database: Engine) -> None:
    user = f"migrator_{uuid.uuid4().hex[:8]}"
    engine = bootstrapped_database
    with engine.connect() as connection:
        command.upgrade(alembic_config.load(connection), "003")
        connection.commit()
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {user} NOLOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA headway TO {user}"))
        connection.execute(text(f"GRANT SELECT ON headway.bootstrap_version TO {user}"))
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"))
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SET SESSION AUTHORIZATION {user}"))
            connection.commit()
            with pytest.raises(ProgrammingError, match="Let an administrator run once"):
                command.upgrade(alembic_config.load(connection), "head")
            connection.rollback()
            connection.execute(text("RESET SESSION AUTHORIZATION"))
            connection.commit()
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {user}"))
            connection.execute(text(f"DROP ROLE {user}"))


def test_downgrade_takes_the_rights_back_and_leaves_the_roles(database: Engine) -> None:
    with database.connect() as connection:
        command.downgrade(alembic_config.load(connection), "003")
        connection.commit()
        for role in ("headway_owner", "headway_writer", "headway_reader"):
            assert connection.scalar(
                text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}
            )
            left = connection.scalar(
                text(
                    "SELECT count(*) FROM pg_class WHERE relowner = CAST(:role AS regrole) "
                    "OR array_to_string(relacl, ',') LIKE '%' || :role || '%'"
                ),
                {"role": role},
            )
            assert left == 0
