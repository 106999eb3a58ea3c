"""Units whose arm a person chose."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from tasks.experiments.assignment.assigning import get_variant
from tasks.experiments.assignment.overrides import remove_override, set_override
from tasks.experiments.definition import creating
from tests.database.experiments import plan, start

ROW = text("SELECT * FROM ab_assignments WHERE user_id = :unit")


def test_an_override_answers_first_and_leaves_the_analysis(database: Engine) -> None:
    start(target_rules=[{"attribute": "country", "op": "eq", "value": "DE"}])
    with database.begin() as tx:
        assert set_override(tx, "buttons", "bob", "red", "ada", "to look at it").is_changed
        assert not set_override(tx, "buttons", "bob", "red", "ada", "again").is_changed
        assert get_variant(tx, "buttons", "bob") == "red"
        assert tx.execute(ROW, {"unit": "bob"}).one().is_override
        stays = remove_override(tx, "buttons", "bob")
        assert (stays.is_changed, get_variant(tx, "buttons", "bob")) == (True, "red")
        assert not remove_override(tx, "buttons", "bob").is_changed
        assert tx.execute(ROW, {"unit": "bob"}).one().is_override


def test_a_unit_with_an_arm_keeps_its_row_under_an_override(database: Engine) -> None:
    start()
    with database.begin() as tx:
        first = get_variant(tx, "buttons", "ann")
        row = tx.execute(ROW, {"unit": "ann"}).one()
        tx.execute(text("DELETE FROM touched_unit"))
        other = "red" if first == "control" else "control"
        set_override(tx, "buttons", "ann", other, None, None)
        assert get_variant(tx, "buttons", "ann") == other
        now = tx.execute(ROW, {"unit": "ann"}).one()
        assert (now.variant_id, now.is_override) == (row.variant_id, True)
        assert tx.scalars(text("SELECT assignment_id FROM touched_unit")).all() == [row.id]
        remove_override(tx, "buttons", "ann")
        assert get_variant(tx, "buttons", "ann") == first


def test_an_override_shows_an_arm_before_the_start_and_writes_nothing(database: Engine) -> None:
    with database.begin() as tx:
        creating.insert(tx, plan(), "ada")
        set_override(tx, "buttons", "bob", "red", None, None)
        assert get_variant(tx, "buttons", "bob") == "red"
        assert tx.execute(ROW, {"unit": "bob"}).first() is None


def test_an_override_is_not_missed_by_a_request_at_the_same_time(database: Engine) -> None:
    start()

    def request() -> str | None:
        with database.begin() as tx:
            return get_variant(tx, "buttons", "ann")

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as tx:
            set_override(tx, "buttons", "ann", "red", None, None)
            asking = pool.submit(request)  # has looked for overrides, then waits to insert
            _await_lock(database)
        asking.result(10)
    with database.begin() as tx:
        assert tx.execute(ROW, {"unit": "ann"}).one().is_override
        assert get_variant(tx, "buttons", "ann") == "red"


def _await_lock(database: Engine) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(500):
            if connection.scalar(waiting):
                return
            connection.execute(text("SELECT pg_sleep(0.01)"))
    raise AssertionError("nobody waits")
