from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks.errors import ConfigurationError, Refused
from tasks.migrations import environments
from tasks.migrations.copying import copy_database
from tasks.migrations.fingerprint import compare, take
from tasks.migrations.rehearsal.checksums import take_checksums
from tasks.migrations.scratch import scratch_database
from tests.conftest import created_database
from tests.database import older_postgres

RICH = Path(__file__).with_name("rich_schema.sql").read_text("utf-8")


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _send(engine: Engine, script: str) -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(script)
        driver.commit()


def _ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with environments.engine(url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query.replace(":", r"\:")))]


@contextmanager
def _copied(engine: Engine, **options: Any) -> Iterator[str]:
    with scratch_database(_url(engine)) as url:
        copy_database(_url(engine), url, **options)
        yield url


@pytest.fixture(scope="module")
def rich(server_url: str) -> Iterator[Engine]:
    with created_database(server_url, "template1") as engine:
        _send(engine, RICH)
        yield engine


def _assert_same(source: str, copy: str) -> None:
    with (
        environments.engine(source).connect() as here,
        environments.engine(copy).connect() as there,
    ):
        assert [d.text for d in compare(take(here), take(there)) if not d.is_information] == []
        here.rollback()
        there.rollback()
        assert take_checksums(here) == take_checksums(there)


SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"


def test_a_copy_equals_its_source_in_schema_rows_and_sequences(rich: Engine) -> None:
    with _copied(rich) as copy:
        _assert_same(_url(rich), copy)
        for query in (SEQUENCES, "SELECT * FROM counted_twice", "SELECT * FROM alembic_version"):
            assert _ask(copy, query) == _ask(_url(rich), query)
        assert _ask(copy, "SELECT relispopulated FROM pg_class WHERE relname = 'never'") == [
            (False,)
        ]


def test_without_data_there_is_the_schema_and_the_version_only(rich: Engine) -> None:
    with _copied(rich, data="none") as copy:
        query = "SELECT (SELECT count(*) FROM parent), version_num FROM alembic_version"
        assert _ask(copy, query) == [(0, "r1")]
        with (
            environments.engine(_url(rich)).connect() as here,
            environments.engine(copy).connect() as there,
        ):
            assert take(here).hash == take(there).hash


def test_a_sample_is_the_same_each_time_and_refers_to_no_row_that_it_lacks(rich: Engine) -> None:
    sums = []
    for _ in range(2):
        with _copied(rich, data="sample", sample_rows=10) as copy:
            # It could be loaded only because all foreign keys hold; those of it are few.
            (counts,) = _ask(
                copy,
                "SELECT (SELECT count(*) FROM leaf), (SELECT count(*) FROM hen), "
                "(SELECT count(*) FROM egg), (SELECT count(*) FROM part), "
                "(SELECT max(id) FROM parent), (SELECT count(*) FROM parent)",
            )
            assert counts[0] == 10
            assert counts[1] == counts[2] == 300  # each hen's egg hatches the next hen
            assert 20 <= counts[3] <= 30
            assert counts[4] == counts[5] < 301  # a boss of each, and the boss of that one
            assert _ask(copy, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == _ask(
                _url(rich), "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
            )
            with environments.engine(copy).connect() as connection:
                sums.append(take_checksums(connection))
    assert sums[0] == sums[1]


def test_masked_columns_show_nothing_and_keep_what_is_equal(rich: Engine) -> None:
    masks = {
        "person.email": "hash",
        "public.person.phone": "null",
        "person.age": "hash",
        "person.code": "hash",
    }
    with _copied(rich, masks=masks) as copy:
        facts = (
            "SELECT count(DISTINCT email), count(phone), count(DISTINCT age), count(DISTINCT code),"
            " max(length(code)), bool_or(email LIKE '%example%'), bool_or(age BETWEEN 0 AND 6) "
            "FROM person"
        )
        assert _ask(copy, facts) == [(50, 0, 7, 3, 4, False, False)]


def test_a_mask_that_does_not_fit_is_named(rich: Engine) -> None:
    cases = [
        ("person.id", "hash", "part of a primary, foreign or partition key"),
        ("leaf.region", "hash", "part of a primary, foreign or partition key"),
        ("part.region", "null", "part of a primary, foreign or partition key"),
        ("person.email", "null", "NOT NULL"),
        ("fast.j", "null", "names no column"),
        ("Sélect %s :x.jb", "hash", "holds no hash"),
        ("Sélect %s :x.twice", "hash", "generated"),
    ]
    with scratch_database(_url(rich)) as url:
        for name, mask, because in cases:
            masks: dict[str, Any] = {name: mask}
            with pytest.raises(ConfigurationError, match=because) as error:
                copy_database(_url(rich), url, masks=masks)
            assert name in str(error.value)


def test_a_copy_is_of_one_moment_while_others_write(empty_database: Engine) -> None:
    _send(
        empty_database,
        "CREATE TABLE account (id int PRIMARY KEY, amount int); "
        "CREATE TABLE zz_transfer (id serial PRIMARY KEY, n int, pad text); "
        "INSERT INTO account SELECT i, 100 FROM generate_series(1, 2) i; "
        "INSERT INTO zz_transfer (n) VALUES (0)",
    )
    is_over = threading.Event()

    def write() -> None:
        with environments.engine(_url(empty_database)).connect() as connection:
            while not is_over.is_set():
                with connection.begin():
                    connection.execute(text("UPDATE account SET amount = amount - 1 WHERE id = 1"))
                    connection.execute(text("INSERT INTO zz_transfer (n) VALUES (1)"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.1)
        with _copied(empty_database) as copy:
            query = (
                "SELECT (SELECT 100 - amount FROM account WHERE id = 1), "
                "(SELECT sum(n) FROM zz_transfer)"
            )
            ((taken, given),) = _ask(copy, query)
            assert taken == given > 0
            assert _ask(_url(empty_database), query)[0][0] > taken
    finally:
        is_over.set()
        writer.join()


def test_functions_of_the_target_find_the_clock_and_the_archive_comes_along(
    bootstrapped_database: Engine,
) -> None:
    _send(
        bootstrapped_database,
        "CREATE TABLE headway_archive.a1 (v int); INSERT INTO headway_archive.a1 VALUES (7); "
        "INSERT INTO headway.migration_run (environment, revision, direction) "
        "VALUES ('dev', 'r', 'upgrade'); "
        "INSERT INTO headway.archive (environment, revision, kind) VALUES ('dev', 'r', 'table')",
    )
    with _copied(bootstrapped_database) as copy:
        assert _ask(copy, "SELECT v FROM headway_archive.a1") == [(7,)]
        assert _ask(copy, "SELECT revision FROM headway.archive") == [("r",)]
        assert _ask(copy, "SELECT count(*) FROM headway.migration_run") == [(0,)]
        assert _ask(copy, "SELECT now() - headway.clock_now() < interval '1 hour'") == [(True,)]
    with _copied(bootstrapped_database, data="none") as copy:
        assert _ask(copy, "SELECT count(*) FROM headway.archive") == [(0,)]


def test_on_postgres_15_too_but_not_from_18_to_15_nor_without_the_roles(rich: Engine) -> None:
    with older_postgres.running() as older:
        with scratch_database(older) as url, scratch_database(older) as copy:
            _send(environments.engine(url), RICH)
            copy_database(url, copy)
            _assert_same(url, copy)
        with scratch_database(_url(rich)) as url, scratch_database(older) as copy:
            alone = 'CREATE ROLE "Odd Role"; CREATE TABLE t (); ALTER TABLE t OWNER TO "Odd Role"'
            _send(environments.engine(url), alone)
            try:
                with pytest.raises(Refused) as refusal:
                    copy_database(url, copy)
            finally:
                _send(environments.engine(url), 'DROP TABLE t; DROP ROLE "Odd Role"')
    codes = [reason.code for reason in refusal.value.reasons]
    assert codes == ["other-major-version", "missing-roles"]
    assert 'CREATE ROLE "Odd Role"' in str(refusal.value)


def test_a_role_that_only_owns_its_database_copies_it_without_grants(
    empty_database: Engine,
) -> None:
    """Only a superuser may give objects to others; whose they are is said to be lost."""
    name = empty_database.url.database
    _send(
        empty_database,
        "CREATE ROLE copy_owner LOGIN CREATEDB PASSWORD 'owner'; CREATE ROLE copy_reader; "
        f"ALTER DATABASE {name} OWNER TO copy_owner",
    )
    owner = empty_database.url.set(username="copy_owner", password="owner")
    own_engine = environments.engine(owner.render_as_string(hide_password=False))
    try:
        _send(
            own_engine,
            "CREATE TABLE t (id serial PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&)); "
            "INSERT INTO t (r) VALUES ('[1,2)'); GRANT SELECT ON t TO copy_reader; "
            "CREATE TABLE others (v int)",
        )
        _send(empty_database, "ALTER TABLE others OWNER TO postgres; GRANT ALL ON others TO PUBLIC")
        with scratch_database(_url(own_engine)) as url:
            copied = copy_database(_url(own_engine), url)
            assert copied.rows["public.t"] == 1
            assert any("no superuser" in note for note in copied.notes)
            assert _ask(url, "SELECT current_user, id FROM t") == [("copy_owner", 1)]
    finally:
        _send(
            empty_database,
            "REASSIGN OWNED BY copy_owner TO postgres; DROP OWNED BY copy_owner, copy_reader; "
            "DROP ROLE copy_owner, copy_reader",
        )
