"""Old samples and verdicts of health go; the audit, and what it rests on, stays."""

from __future__ import annotations

from sqlalchemy import Engine

from tasks.decisions import replay
from tasks.rollouts.expiring import expire_health
from tests.database.rollouts import FAILING, an_hour, begin, hours_pass, tick_now
from tests.rows import rows_of

KEPT = "SELECT slot IS NOT NULL, metric FROM health_check ORDER BY id"


def expire(database: Engine, check_days: int = 90, sample_days: int = 30) -> dict[str, int]:
    with database.begin() as tx:
        return expire_health(tx, check_days, sample_days)


def test_nothing_young_expires(database: Engine) -> None:
    begin(database)
    an_hour(database)
    hours_pass(database, 24 * 29)
    assert expire(database) == {"health_check": 0, "health_sample": 0}


def test_old_checks_go_but_what_the_audit_rests_on_and_the_latest_slot(database: Engine) -> None:
    begin(database)
    verdicts = [an_hour(database).verdict for _ in range(3)]
    assert verdicts == ["hold", "advance", "hold"]
    hours_pass(database, 24 * 91)
    assert expire(database)["health_check"] == 3 + 2
    left = "SELECT count(*), count(DISTINCT slot) FROM health_check"
    assert rows_of(database, left) == [(1 + 3, 2)]
    with database.connect() as connection:
        report = replay(connection)
    assert (report.replayed, report.differences) == (3, ())


def test_the_latest_slot_is_known_although_its_checks_are_old(database: Engine) -> None:
    begin(database)
    slot = "2026-11-20T14:00Z"
    tick_now(database, slot=slot)
    hours_pass(database, 24 * 91)
    expire(database)
    assert tick_now(database, slot=slot).reasons[0].code == "slot-decided"


def test_old_samples_go_once_no_stage_can_be_judged_by_them(database: Engine) -> None:
    begin(database, control_version="v1")
    an_hour(database)
    hours_pass(database, 24 * 31)
    assert expire(database)["health_sample"] == 0
    assert an_hour(database, FAILING).verdict == "rollback"
    samples = rows_of(database, "SELECT count(*) FROM health_sample")[0][0]
    assert expire(database)["health_sample"] == samples / 2
    assert expire(database)["health_sample"] == 0


def test_without_rollouts_there_is_nothing_to_expire(bootstrapped_database: Engine) -> None:
    assert expire(bootstrapped_database) == {}
