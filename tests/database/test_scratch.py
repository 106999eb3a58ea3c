from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text

from tasks.errors import Refused
from tasks.migrations import environments
from tasks.migrations.scratch import scratch_database, sweep

HOLDS_ONE_UNTIL_KILLED = """
import sys, time
from tasks.migrations.scratch import scratch_database
with scratch_database(sys.argv[1]) as url:
    print(url.rpartition("/")[2].partition("?")[0], flush=True)
    time.sleep(60)
"""


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _exists(engine: Engine, name: str | None) -> bool:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_database WHERE datname = :name")
        return bool(connection.scalar(query, {"name": name}))


def _ask(url: str, query: str) -> list[sa.Row[tuple[object, ...]]]:
    with environments.engine(url).connect() as connection:
        return list(connection.execute(text(query)))


def test_a_scratch_database_has_locale_and_settings_of_its_source_and_goes_also_on_an_error(
    empty_database: Engine,
) -> None:
    with empty_database.connect() as connection:
        name = connection.dialect.identifier_preparer.quote(str(empty_database.url.database))
        connection.execute(text(f"ALTER DATABASE {name} SET search_path = app, public"))
        connection.execute(text(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu'"))
        connection.commit()
    facts = "SELECT datcollate, datctype, datlocprovider, pg_encoding_to_char(encoding)"
    like = f"{facts} FROM pg_database WHERE datname = current_database()"
    with suppress(ZeroDivisionError), scratch_database(_url(empty_database)) as url:
        scratch = sa.make_url(url).database
        assert _ask(url, like) == _ask(_url(empty_database), like)
        assert _ask(url, "SHOW search_path") == [("app, public",)]
        assert _ask(url, "SHOW TimeZone") == [("Asia/Kathmandu",)]
        assert sweep(_url(empty_database), older_than_seconds=-5) == []
        with environments.engine(url).begin() as connection:
            connection.execute(text("CREATE TABLE t AS SELECT 7 AS v"))
        with scratch_database(_url(empty_database), template=scratch) as clone:
            assert _ask(clone, "SELECT v FROM t") == [(7,)]
        raise ZeroDivisionError
    assert not _exists(empty_database, scratch)


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(
    empty_database: Engine,
) -> None:
    url = _url(empty_database)
    command = [sys.executable, "-c", HOLDS_ONE_UNTIL_KILLED, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name not in sweep(url, older_than_seconds=-5)
        assert _exists(empty_database, name)
        process.send_signal(signal.SIGKILL)
    assert name not in sweep(url)  # younger than a minute
    deadline = time.monotonic() + 10
    while name not in sweep(url, older_than_seconds=-5):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not _exists(empty_database, name)


def test_a_role_that_may_not_create_databases_is_told_the_two_ways_out(
    empty_database: Engine,
) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS scratch_modest"))
        connection.execute(text("CREATE ROLE scratch_modest LOGIN PASSWORD 'modest'"))
    modest = empty_database.url.set(username="scratch_modest", password="modest")
    try:
        with pytest.raises(Refused) as refusal, scratch_database(modest.render_as_string(False)):
            pytest.fail("it was made")
    finally:
        with empty_database.begin() as connection:
            connection.execute(text("DROP ROLE scratch_modest"))
    assert [reason.code for reason in refusal.value.reasons] == ["cannot-create-scratch"]
    assert "CREATEDB" in str(refusal.value)
    assert "rehearsal_url" in str(refusal.value)
