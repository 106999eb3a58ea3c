"""Working rows of experiments have an end, and nothing that they say is lost by it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks import clock
from tasks.database import control_engine
from tasks.experiments import steps
from tasks.experiments.folding.recomputing import recompute
from tasks.steps import purge_experiment_rows
from tests.database.experiments import (
    arms,
    assignment,
    event,
    fold_now,
    load,
    new_run,
    start,
)


def purge(waiting_days: int = 30) -> dict[str, int]:
    with new_run():
        return purge_experiment_rows(waiting_days=waiting_days)


def pass_days(days: int) -> None:
    with control_engine().begin() as tx:
        clock.shift(tx, timedelta(days=days))


def rows(sql: str) -> list[Any]:
    with control_engine().connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


@pytest.fixture
def buttons(database: Engine, tmp_path: Path) -> str:
    experiment_id = start()
    load(tmp_path, arms([1, 2, 3], [2, 3, 5]))
    fold_now(experiment_id)
    return experiment_id


def test_an_event_whose_unit_never_comes_is_rejected_whole(buttons: str, tmp_path: Path) -> None:
    load(tmp_path, [event("nobody", 7, "late-1"), event("later", 8, "late-2")], name="more")
    assert purge() == {"waiting_event": 0, "touched_unit": 0}
    pass_days(29)
    assert purge()["waiting_event"] == 0
    pass_days(2)
    load(tmp_path, [event("fresh", 9, "late-3")], name="fresh")
    with control_engine().begin() as tx:
        # Assigned by an application: released within the hour, whatever its age.
        tx.execute(text("SELECT assign_variant('buttons', 'later')"))
    assert purge()["waiting_event"] == 1
    assert rows("SELECT user_id FROM waiting_event ORDER BY 1") == [("fresh",), ("later",)]
    [(code, message, raw, source, count)] = rows(
        "SELECT r.reason_code, r.message, r.raw, b.source, b.rejected_count "
        "FROM rejected_row r JOIN ingest_batch b ON b.id = r.ingest_batch_id"
    )
    assert (code, source, count) == ("never-assigned", "waiting_event", 1)
    assert raw.items() >= {"experiment": "buttons", "user_id": "nobody", "event_value": 7}.items()
    assert message == "'nobody' was not assigned in 'buttons' within 30 days"
    assert purge()["waiting_event"] == 0


def test_what_active_and_paused_experiments_are_to_fold_stays(buttons: str, tmp_path: Path) -> None:
    load(tmp_path, [event("red-0", 4, "again")], name="more")
    assert purge()["touched_unit"] == 0
    with new_run():
        steps.change_experiment(experiment="buttons", action="pause")
    assert purge()["touched_unit"] == 0


def test_late_events_of_a_completed_experiment_are_recomputed_though_its_log_is_gone(
    buttons: str, tmp_path: Path
) -> None:
    with new_run():
        steps.change_experiment(experiment="buttons", action="complete")
    load(tmp_path, [event("red-0", 4, "again"), assignment("new", "red")], name="late")
    assert purge()["touched_unit"] > 0
    assert rows("SELECT * FROM touched_unit") == []
    with control_engine().begin() as tx:
        assert recompute(tx, [buttons]) == []
    [(assigned, mean)] = rows(
        "SELECT s.assigned, s.mean FROM moment_statistic s JOIN ab_variants v "
        "ON v.id = s.variant_id AND v.variant_name = 'red' WHERE s.dimension = ''"
    )
    assert (assigned, mean) == (4, pytest.approx((2 + 4 + 3 + 5) / 3))


def test_the_log_of_an_experiment_that_is_gone_goes(database: Engine) -> None:
    with control_engine().begin() as tx:
        log = "INSERT INTO touched_unit (experiment_id, assignment_id) VALUES "
        tx.execute(text(f"{log} (gen_random_uuid(), gen_random_uuid())"))
    assert purge()["touched_unit"] == 1


def test_a_database_without_experiments_has_nothing_to_purge(bootstrapped_database: Engine) -> None:
    assert purge() == {}
