"""The suites over the experiment tables: whom a failure concerns, and what is looked at again."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tasks.experiments.quality.gathering import gather
from tasks.experiments.quality.model import SuiteFindings, closing
from tasks.experiments.quality.suites import run_suites
from tests.database import quality_rows
from tests.database.quality_rows import EXPERIMENT, OTHER

RULE = "ab_metrics: a value is a finite number"
BROKEN = SuiteFindings(failed_in={str(EXPERIMENT): (RULE,)})
SOUND = SuiteFindings()
BREAK = "UPDATE ab_metrics SET event_value = 'NaN' WHERE event_id = 'buycontrol-1' AND {mine}"
LONG_AGO = "UPDATE ab_metrics SET created_at = headway.clock_now() - interval '3 hours'"


@pytest.fixture
def filled(database: Engine) -> Engine:
    change(database)
    with database.begin() as connection:
        quality_rows.build(connection)
    return database


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            mine = f"experiment_id = '{EXPERIMENT}'"
            connection.exec_driver_sql(statement.replace("{mine}", mine))


def found(engine: Engine) -> SuiteFindings:
    with engine.begin() as connection:
        return run_suites(connection, engine.url.render_as_string(hide_password=False))


def test_a_broken_row_stops_its_experiment_alone_until_it_is_corrected(filled: Engine) -> None:
    change(filled, BREAK, LONG_AGO)
    assert found(filled) == BROKEN
    with filled.begin() as connection:
        checks = gather(connection, [EXPERIMENT, OTHER], BROKEN)
    assert [check.name for check in closing(checks[EXPERIMENT])] == ["suite"]
    assert RULE in closing(checks[EXPERIMENT])[0].message
    assert closing(checks[OTHER]) == ()
    # It came too long ago to be looked at for itself.
    assert found(filled) == BROKEN
    change(filled, "UPDATE ab_metrics SET event_value = 1 WHERE event_id = 'buycontrol-1'")
    assert found(filled) == SOUND


def test_events_are_looked_at_as_they_come_and_all_of_them_once_a_day(filled: Engine) -> None:
    change(filled, LONG_AGO)
    assert found(filled) == SOUND
    # Nobody loads such a row; where one is made by hand it is found within a day.
    change(filled, BREAK)
    assert found(filled) == SOUND
    change(filled, "UPDATE ab_metrics SET created_at = headway.clock_now() WHERE {mine}")
    assert found(filled) == BROKEN
    change(
        filled,
        LONG_AGO,
        'UPDATE suite_check SET findings = \'{"failed": [], "unknown": [], "failed_in": {}}\'',
    )
    assert found(filled) == SOUND
    change(filled, "UPDATE suite_check SET fully_checked_at = fully_checked_at - interval '1 day'")
    assert found(filled) == BROKEN


def test_what_could_not_be_checked_is_unknown_and_tried_on_all_rows(filled: Engine) -> None:
    assert found(filled) == SOUND
    change(filled, "ALTER TABLE ab_metrics RENAME event_value TO amount")
    assert found(filled) == SuiteFindings(unknown=(RULE,))
    change(filled, "ALTER TABLE ab_metrics RENAME amount TO event_value")
    assert found(filled) == SOUND
