"""The steps of a migration, against real databases, real locks and real cuts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks import decisions, retries, rules, runs
from tasks.errors import LockNotAcquired, NotFound, Refused
from tasks.migrations import environments, project, steps
from tasks.migrations.applying import moves
from tasks.migrations.rehearsal.model import RevisionEffect
from tasks.migrations.status import migration_status
from tasks.settings import load_settings
from tests.database.migrations import (
    AFTER_NEXT,
    ALL,
    BELOW_HEAD,
    HEAD,
    NEXT,
    apply_all,
    copy_scripts,
    history,
    start_run,
    write_revision,
)

NOTHING = RevisionEffect(revision=HEAD, direction="downgrade")
CHANGE_VARIANTS = 'op.add_column("ab_variants", sa.Column("note", sa.Text))'


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the revisions that a test may change, used instead of the real ones."""
    folder = copy_scripts(tmp_path)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short waits for locks, and between tries."""
    monkeypatch.setenv("HEADWAY_LOCK_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("HEADWAY_MIGRATION_WAIT_SECONDS", "0.5")
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.05)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def current(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


def scalar(engine: Engine, query: str) -> object:
    with engine.connect() as connection:
        return connection.scalar(text(query))


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def roll_back(revision: str, **taken: Any) -> moves.Moved:
    effect = RevisionEffect(revision=revision, direction="downgrade", **taken)
    with runs.in_run(start_run("ada", "it was wrong")):
        return steps.roll_back_revision(environment="local", revision=revision, taken=effect)


def reasons(action: Callable[[], object]) -> list[str]:
    with pytest.raises(Refused) as refusal:
        action()
    return [reason.code for reason in refusal.value.reasons]


def test_empty_database_is_brought_to_head_one_revision_at_a_time(
    bootstrapped_database: Engine,
) -> None:
    assert [(m.revision, m.outcome) for m in apply_all()] == [(r, "done") for r in ALL]
    assert current(bootstrapped_database) == [HEAD]
    assert history(bootstrapped_database) == [("upgrade", r) for r in ALL]


def test_second_run_finds_nothing_to_do_and_decides_so(database: Engine) -> None:
    assert apply_all() == []
    with database.connect() as connection:
        verdicts = connection.scalars(
            text("SELECT verdict FROM headway.decision WHERE rule = 'migration-plan'")
        ).all()
    assert verdicts == ["nothing-to-do"]


def test_history_row_carries_the_run_and_who_and_why(database: Engine) -> None:
    run = start_run("ada", "it was wrong")
    with runs.in_run(run):
        steps.roll_back_revision(environment="local", revision=HEAD, taken=NOTHING)
    with database.connect() as connection:
        row = connection.execute(
            text("SELECT * FROM headway.migration_run ORDER BY id DESC LIMIT 1")
        ).one()
    assert (row.direction, row.revision, row.down_revision) == ("downgrade", HEAD, BELOW_HEAD)
    assert (str(row.run_id), row.actor, row.reason) == (run.id, "ada", "it was wrong")
    assert row.environment == "local"


def test_edited_revision_is_refused_before_anything_is_done(
    database: Engine, versions: Path
) -> None:
    write_revision(versions, NEXT, HEAD)
    path = next(versions.glob("*_001_*.py"))
    path.write_text(path.read_text().replace("sa.Text, nullable=False)", "sa.String(99))"))
    before = history(database)
    assert reasons(apply_all) == ["edited-revision"]
    assert current(database) == [HEAD]
    assert history(database) == before


def test_two_heads_are_refused_with_both_files(database: Engine, versions: Path) -> None:
    write_revision(versions, NEXT, HEAD)
    write_revision(versions, AFTER_NEXT, HEAD)
    with pytest.raises(Refused, match=rf"{NEXT}_test\.py.*{AFTER_NEXT}_test\.py"):
        apply_all()
    assert current(database) == [HEAD]


def test_database_at_an_unknown_revision_is_refused(database: Engine) -> None:
    execute(database, "UPDATE alembic_version SET version_num = '999'")
    assert reasons(apply_all) == ["unknown-database-revision"]
    [status] = migration_status()
    assert (status.state, status.current_revision) == ("unknown", "999")


def test_refused_plan_is_kept_as_a_decision_that_replays(database: Engine, versions: Path) -> None:
    write_revision(versions, NEXT, "nowhere")
    assert reasons(apply_all) == ["missing-down-revision"]
    rules.load_rules()
    with database.connect() as connection:
        report = decisions.replay(connection, "migration:local")
    assert (report.replayed, report.differences) == (1, ())


def test_half_done_revision_leaves_nothing(database: Engine, versions: Path) -> None:
    up = 'op.create_table("a", sa.Column("x", sa.Integer)); op.execute("SELECT 1 / 0")'
    write_revision(versions, NEXT, HEAD, up)
    with pytest.raises(DBAPIError):
        apply_all()
    assert scalar(database, "SELECT to_regclass('a')") is None
    assert current(database) == [HEAD]


def test_concurrent_index_in_an_autocommit_block_is_applied(
    database: Engine, versions: Path
) -> None:
    up = (
        "with op.get_context().autocommit_block(): "
        'op.create_index("idx_x", "metric", ["kind"], postgresql_concurrently=True)'
    )
    write_revision(versions, NEXT, HEAD, up)
    assert [m.outcome for m in apply_all()] == ["done"]
    assert scalar(database, "SELECT indisvalid FROM pg_index WHERE indexrelid='idx_x'::regclass")
    assert history(database)[-1] == ("upgrade", NEXT)


def test_every_revision_is_undone_and_applied_again(database: Engine) -> None:
    assert [roll_back(r).outcome for r in reversed(ALL)] == ["done"] * len(ALL)
    assert current(database) == []
    assert [m.outcome for m in apply_all()] == ["done"] * len(ALL)


def test_rollback_of_what_others_build_on_names_them(database: Engine, versions: Path) -> None:
    up = 'op.create_table("note", sa.Column("x", sa.Integer))'
    write_revision(versions, NEXT, HEAD, up, 'op.drop_table("note")')
    apply_all()
    execute(database, "CREATE VIEW seen AS SELECT x FROM note")
    with pytest.raises(Refused, match=r"others-depend-on-it.*view seen depends on table note"):
        roll_back(NEXT, dropped_tables=(("public", "note"),))
    assert current(database) == [NEXT]


def test_rollback_of_what_is_not_applied_finds_it_done(database: Engine) -> None:
    assert roll_back(HEAD).outcome == "done"
    assert roll_back(HEAD).outcome == "already"
    assert history(database)[-1] == ("downgrade", HEAD)


@pytest.mark.usefixtures("quick")
def test_table_that_is_let_go_in_time_is_migrated_by_a_later_try(
    database: Engine, versions: Path
) -> None:
    write_revision(versions, NEXT, HEAD, CHANGE_VARIANTS)
    with ThreadPoolExecutor(1) as pool, database.connect() as holder:
        holder.execute(text("SELECT * FROM ab_variants"))
        applying = pool.submit(apply_all)
        time.sleep(0.3)
        holder.rollback()
        assert [m.outcome for m in applying.result(30)] == ["done"]
    assert current(database) == [NEXT]


@pytest.mark.usefixtures("quick")
def test_another_migrating_session_is_waited_for_and_named(database: Engine) -> None:
    from tasks.migrations.applying.session import migrating

    roll_back(HEAD)
    with (
        database.connect() as other,
        migrating(other, lock_timeout_seconds=1, statement_timeout_seconds=0),
        pytest.raises(LockNotAcquired, match="holds the migration lock"),
    ):
        apply_all()
    assert [m.outcome for m in apply_all()] == ["done"]


def test_run_that_died_after_the_effect_finds_it_in_the_history(database: Engine) -> None:
    with runs.in_run(start_run()):
        assert moves.find("local", HEAD, "downgrade") is None
        moved = steps.roll_back_revision(environment="local", revision=HEAD, taken=NOTHING)
        found = moves.find("local", HEAD, "downgrade")
        assert found == moved.model_copy(update={"archived": None})  # that is in its own table
        assert moves.find("local", HEAD, "upgrade") is None
    with runs.in_run(start_run()):
        assert moves.find("local", HEAD, "downgrade") is None


def test_revision_rolled_back_since_the_plan_is_not_applied_on_nothing(database: Engine) -> None:
    roll_back(HEAD)
    roll_back(BELOW_HEAD)
    with runs.in_run(start_run()):
        codes = reasons(lambda: steps.apply_revision(environment="local", revision=HEAD))
    assert codes == ["plan-is-stale"]


def test_validation_finds_drift_invalid_indexes_and_unvalidated_constraints(
    database: Engine,
) -> None:
    execute(database, "ALTER TABLE ab_variants ALTER traffic_weight SET DEFAULT 0.7")
    execute(database, "CREATE INDEX idx_hot ON metric (kind)")
    execute(
        database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_hot'::regclass"
    )
    execute(database, "ALTER TABLE metric ADD CONSTRAINT c CHECK (kind <> 'x') NOT VALID")
    with runs.in_run(start_run()):
        found = steps.validate_schema(environment="local", after="a test").check
    assert found.drift is not None
    assert any("traffic_weight" in item for item in found.drift)
    assert found.invalid_indexes == ("idx_hot",)
    assert found.unvalidated_constraints == ("metric.c",)
    assert not found.is_sound


def test_status_says_where_each_environment_stands(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [(s.environment, s.state, s.current_revision) for s in migration_status()] == [
        ("local", "current", HEAD)
    ]
    roll_back(HEAD)
    [status] = migration_status()
    assert (status.state, status.pending, status.head) == ("pending", (HEAD,), HEAD)
    assert status.last_run is not None
    assert status.last_run.startswith(f"downgrade {HEAD}")
    execute(database, "ALTER TABLE metric DROP COLUMN description")
    apply_all()
    [status] = migration_status()
    assert (status.state, status.drift) == ("drift", 1)


def test_status_reports_an_edited_file_and_an_unreachable_database(
    database: Engine, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next(versions.glob("*_002_*.py"))
    path.write_text(path.read_text() + "CHANGED = True\n")
    [status] = migration_status()
    assert (status.state, path.name in (status.problem or "")) == ("edited", True)
    _declare(monkeypatch, '{"gone": {"url": "postgresql://me:hunter2@127.0.0.1:1/x"}}')
    [status] = migration_status()
    assert status.state == "unreachable"
    assert "hunter2" not in (status.problem or "")


def test_environments_come_in_their_order_and_unknown_ones_list_them(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGING_URL", database.url.render_as_string(hide_password=False))
    declared = (
        '{"prod": {"url": "postgresql:///p", "order": 2, "is_protected": true},'
        ' "staging": {"url_env": "STAGING_URL", "order": 1}}'
    )
    _declare(monkeypatch, declared)
    assert environments.names() == ("staging", "prod")
    assert environments.name_of(environments.find("staging").url) == "staging"
    assert environments.find("prod").is_protected
    with pytest.raises(NotFound, match="staging, prod"):
        environments.find("local")
    assert apply_all("staging") == []


def test_another_database_is_migrated_while_the_ledger_stays_in_the_control_database(
    database: Engine, new_database: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database() as staging:  # type: ignore[attr-defined]
        monkeypatch.setenv("STAGING_URL", staging.url.render_as_string(hide_password=False))
        _declare(monkeypatch, '{"staging": {"url_env": "STAGING_URL"}}')
        with runs.in_run(start_run()):
            plan = steps.plan_rollback(environment="staging", steps=1)
            [planned] = plan.revisions
            steps.roll_back_revision(
                environment="staging", revision=planned.revision, taken=NOTHING
            )
        assert current(staging) == [BELOW_HEAD]
        assert history(staging)[-1] == ("downgrade", HEAD)
        assert scalar(staging, "SELECT count(*) FROM headway.step") == 0
    assert current(database) == [HEAD]
    assert scalar(database, "SELECT count(*) FROM headway.step") == 2


def _declare(monkeypatch: pytest.MonkeyPatch, declared: str) -> None:
    monkeypatch.setenv("HEADWAY_ENVIRONMENTS", declared)
    load_settings.cache_clear()
