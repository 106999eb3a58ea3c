"""What stands in the way of a migration is found before anything is applied."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import text

from tasks import embedded
from tasks.embedded import isolation
from tasks.migrations.preflight import probing
from tasks.migrations.preflight.judge import PreflightEvidence, judge_preflight
from tests.database.projects import AlembicProject


def refused(found: PreflightEvidence) -> dict[str, str]:
    """Codes and messages of a refusal; empty if it is allowed."""
    return {reason.code: reason.message for reason in judge_preflight(found).reasons}


def preflight(project: AlembicProject, *up: str) -> PreflightEvidence:
    project.revision("a1", None, list(up))
    return probing.gather("dev", ["a1"])


@pytest.fixture
def shop(project: AlembicProject) -> AlembicProject:
    project.execute(
        "dev",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE item "
        "(id int PRIMARY KEY, parent_id int, qty bigint, name text, price numeric)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO item VALUES (1, 1, 5, 'x', 1), (2, 9, 70000, 'x', 12345), "
        "(3, NULL, NULL, 'long name', -1)",
    )
    return project


def test_s32_not_null_is_refused_with_count_and_keys(shop: AlembicProject) -> None:
    found = refused(preflight(shop, "ALTER TABLE item ALTER qty SET NOT NULL"))
    assert list(found) == ["null-values"]
    assert "item (qty) 1 row have no value, for example (3)" in found["null-values"]


BREAKING = [
    ("ALTER TABLE item ADD UNIQUE (name)", "duplicate-values", "1 key", "(x)"),
    ("CREATE UNIQUE INDEX i ON item (lower(name))", "duplicate-values", "1 key", "(x)"),
    (
        "ALTER TABLE item ADD FOREIGN KEY (parent_id) REFERENCES parent (id)",
        "orphan-rows",
        "",
        "(2)",
    ),
    ("ALTER TABLE item ADD FOREIGN KEY (parent_id) REFERENCES parent", "orphan-rows", "1 ", "(2)"),
    ("ALTER TABLE item ADD CONSTRAINT c CHECK (price > 0)", "check-violations", "1 row", "(3)"),
    ("ALTER TABLE item ALTER qty TYPE smallint", "values-do-not-fit", "1 row", "(2)"),
    ("ALTER TABLE item ALTER name TYPE varchar(4)", "values-do-not-fit", "1 row", "(3)"),
    ("ALTER TABLE item ALTER price TYPE numeric(5, 2)", "values-do-not-fit", "1 row", "(2)"),
    ("ALTER TABLE item ADD note text NOT NULL", "null-values", "3 rows", "(1)"),
]


def test_s33_rows_that_a_constraint_or_type_forbids_are_counted(shop: AlembicProject) -> None:
    for statement, code, count, key in BREAKING:
        found = refused(preflight(shop, statement))
        assert list(found) == [code], statement
        assert count in found[code]
        assert key in found[code]


def test_what_the_rows_allow_is_allowed(shop: AlembicProject) -> None:
    found = preflight(
        shop,
        "ALTER TABLE item ALTER id SET NOT NULL",
        "ALTER TABLE item ADD CONSTRAINT k UNIQUE (id, name)",
        "CREATE UNIQUE INDEX i ON item (name) WHERE price > 0 AND id < 2",
        "ALTER TABLE item ADD CONSTRAINT c CHECK (price > 0) NOT VALID",
        "ALTER TABLE item ALTER name TYPE varchar(20)",
        "ALTER TABLE item ADD note text NOT NULL DEFAULT ''",
    )
    assert refused(found) == {}
    assert found.unchecked == ()


def test_a_constraint_that_is_to_be_validated_is_looked_up(shop: AlembicProject) -> None:
    shop.execute(
        "dev",
        "ALTER TABLE item ADD CONSTRAINT c CHECK (price > 0) NOT VALID",
        "ALTER TABLE item ADD CONSTRAINT f FOREIGN KEY (parent_id) REFERENCES parent NOT VALID",
    )
    found = preflight(
        shop, "ALTER TABLE item VALIDATE CONSTRAINT c", "ALTER TABLE item VALIDATE CONSTRAINT f"
    )
    assert list(refused(found)) == ["check-violations", "orphan-rows"]


def test_rows_that_the_plan_itself_changes_are_left_to_the_rehearsal(shop: AlembicProject) -> None:
    found = preflight(
        shop,
        "UPDATE item SET qty = 0 WHERE qty IS NULL",
        "ALTER TABLE item ALTER qty SET NOT NULL",
        "CREATE TABLE fresh (a int)",
        "ALTER TABLE fresh ALTER a SET NOT NULL",
        "ALTER TABLE gone ALTER a SET NOT NULL",
    )
    assert refused(found) == {}
    whys = [each.why for each in found.unchecked]
    assert len(whys) == 2
    assert "the plan itself changes rows of item before" in whys[0]
    assert "does not exist" in whys[1]


def test_s30_a_read_only_database_is_refused(project: AlembicProject) -> None:
    name = project.engines["dev"].url.database
    project.execute("dev", f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "read-only" in refused(preflight(project, "CREATE TABLE t (a int)"))


def test_s30_a_standby_is_refused(project: AlembicProject, tmp_path: Path) -> None:
    primary = embedded.start(tmp_path / "server", fsync=False)
    cluster = isolation.cluster_folder(primary.data_dir) / "cluster"
    primary.close()
    deadline = time.monotonic() + 20
    while (cluster / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    (cluster / "standby.signal").touch()
    standby = embedded.start(tmp_path / "server", fsync=False)
    try:
        project.configure("dev", url=standby.url())
        found = preflight(project, "CREATE TABLE t (a int)")
    finally:
        standby.close()
    assert list(refused(found)) == ["standby"]


def test_s31_a_role_that_does_not_own_the_table_is_refused(
    shop: AlembicProject, server_url: str
) -> None:
    role = f"someone_{shop.engines['dev'].url.database}"
    shop.execute(
        "dev",
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = shop.engines["dev"].url.set(username=role, password="secret")
    try:
        shop.configure("dev", url=url.render_as_string(False))
        found = refused(preflight(shop, "ALTER TABLE item ADD x int", "CREATE TABLE mine (a int)"))
    finally:
        shop.execute("dev", f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert set(found) == {"not-owner", "no-create", "no-history"}
    assert "does not own item" in found["not-owner"]
    assert shop.rows("dev", "SELECT to_regclass('mine')") == [(None,)]


def test_s31_an_extension_that_the_server_lacks_is_refused(project: AlembicProject) -> None:
    found = preflight(project, "CREATE EXTENSION IF NOT EXISTS no_such_thing", "SELECT 1")
    assert list(refused(found)) == ["extension-missing"]


def test_s38_enum_values_in_use_are_counted(shop: AlembicProject) -> None:
    from tasks.migrations.archive import Effect

    shop.execute("dev", "CREATE TYPE mood AS ENUM ('sad', 'ok')", "ALTER TABLE item ADD m mood")
    shop.execute("dev", "UPDATE item SET m = 'sad' WHERE id < 3")
    shop.revision("a1", None)
    effect = Effect(removed_enum_values=(("public", "mood", "sad"),))
    found = probing.gather("dev", ["a1"], direction="downgrade", effects=[effect])
    assert "2 rows of public.item.m" in refused(found)["enum-value-in-use"]
    mapped = found.model_copy(update={"mapped_enum_values": ("mood.sad",)})
    assert refused(mapped) == {}


def test_a_direct_connection_is_not_taken_for_a_pooler(project: AlembicProject) -> None:
    assert probing.is_pooled(project.engines["dev"]) is False
    with project.engines["dev"].connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    assert isinstance(pid, int)


def test_s24_one_backend_for_two_sessions_is_a_pooler(project: AlembicProject) -> None:
    shared = sa.create_engine(
        project.engines["dev"].url, poolclass=sa.pool.StaticPool, hide_parameters=True
    )
    assert probing.is_pooled(shared) is True
    shared.dispose()
