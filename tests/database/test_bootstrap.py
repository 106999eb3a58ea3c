"""Schema `headway` is made once, whoever comes first, and again by nobody."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks import bootstrap, database
from tasks.bootstrap import LATEST
from tasks.errors import ConfigurationError

TABLES = {
    *("run", "step", "step_attempt", "effect", "decision", "migration_run"),
    *("clock", "bootstrap_version", "schema_fingerprint", "accepted_drift", "archive"),
    *("migration_statement", "migration_fence", "lock_time"),
}


def tables(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'headway'")
        return set(connection.scalars(query))


def versions(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT version FROM headway.bootstrap_version")))


def is_adjustable(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text("SELECT is_adjustable FROM headway.clock")))


def test_bootstrap_makes_the_ledgers_home(empty_database: Engine) -> None:
    with empty_database.begin() as connection:
        assert bootstrap.version(connection) == 0
        bootstrap.bootstrap(connection)
        assert bootstrap.version(connection) == LATEST
    assert tables(empty_database) == TABLES
    assert versions(empty_database) == list(range(1, LATEST + 1))
    assert not is_adjustable(empty_database)


def test_bootstrap_again_changes_nothing(bootstrapped_database: Engine) -> None:
    with bootstrapped_database.begin() as connection:
        bootstrap.bootstrap(connection, is_clock_adjustable=False)
    assert versions(bootstrapped_database) == list(range(1, LATEST + 1))
    assert is_adjustable(bootstrapped_database)


def test_bootstrap_goes_with_its_transaction(empty_database: Engine) -> None:
    with empty_database.connect() as connection:
        bootstrap.bootstrap(connection)
        connection.rollback()
        assert bootstrap.version(connection) == 0


def test_simultaneous_bootstraps_make_it_once(empty_database: Engine) -> None:
    def once(_: int) -> None:
        with empty_database.begin() as connection:
            bootstrap.bootstrap(connection)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(once, range(8)))
    assert versions(empty_database) == list(range(1, LATEST + 1))


def test_user_who_may_not_create_it_is_told_the_way_out(empty_database: Engine) -> None:
    user = f"nobody_{uuid.uuid4().hex[:8]}"
    with empty_database.begin() as connection:
        connection.execute(text(f"CREATE ROLE {user} NOLOGIN"))
        connection.execute(text(f"SET LOCAL ROLE {user}"))
        with (
            pytest.raises(ConfigurationError, match="GRANT CREATE ON DATABASE test_"),
            connection.begin_nested(),
        ):
            bootstrap.bootstrap(connection)
        connection.rollback()


def test_a_newer_home_is_left_alone(bootstrapped_database: Engine) -> None:
    with bootstrapped_database.begin() as connection:
        connection.execute(text("INSERT INTO headway.bootstrap_version VALUES (999)"))
        bootstrap.bootstrap(connection)
        assert bootstrap.version(connection) == 999


def test_the_first_use_of_the_control_database_bootstraps_it(empty_database: Engine) -> None:
    assert database.control_engine() is database.control_engine()
    assert tables(empty_database) == TABLES


def test_rows_and_values_stay_out_of_database_errors(bootstrapped_database: Engine) -> None:
    query = text("SELECT CAST(:secret AS jsonb) FROM nowhere")
    with bootstrapped_database.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(query, {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)
