"""Revision 008 on a database that is in use: what is there stays, up, down and up again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks import runs
from tests.database.migrations import apply_all, roll_back, start_run
from tests.rows import rows_of

CHECKS = '[{"check": "latency", "limit": 200, "min_samples": 500, "metric": "p95"}]'
ROLLOUTS = """
INSERT INTO rollout (name, model_version, salt, percentage, state, stage_index, policy, starts_at)
VALUES ('old', 'v1', 'rollout:old', 25, 'running', 1, '{policy}', NULL),
       ('plan', 'v2', 'rollout:plan', 0, 'draft', -1, '{policy}', NULL),
       ('soon', 'v3', 'rollout:soon', 0, 'scheduled', -1, '{policy}', now())
"""
CHANGES = """
INSERT INTO rollout_change (rollout_id, old_percentage, new_percentage, old_state, new_state, cause,
                            actor, reason, changed_at)
VALUES (1, 0, 0, NULL, 'draft', 'create', 'ada', 'planned', now()),
       (1, 0, 5, 'draft', 'running', 'start', 'ada', 'go', now()),
       (2, 0, 0, NULL, 'draft', 'create', 'ada', 'planned', now()),
       (99, 0, 0, NULL, 'draft', 'create', 'ada', 'a draft that is deleted', now())
"""


@pytest.fixture
def used(database: Engine) -> Engine:
    policy = json.dumps({"checks": json.loads(CHECKS), "max_hold_hours": 6, "guard": "sequential"})
    with database.begin() as tx:
        tx.exec_driver_sql(ROLLOUTS.replace("{policy}", policy))
        tx.execute(text("INSERT INTO rollout_stage SELECT id, 0, 5, 7200 FROM rollout"))
        tx.execute(text(CHANGES))
    return database


def _roll_back_to_before() -> None:
    for revision in ("010", "009", "008"):
        roll_back(revision)


def test_going_back_keeps_what_has_begun_and_drops_what_the_earlier_schema_cannot_name(
    used: Engine,
) -> None:
    with runs.in_run(start_run("ada", "a test")):
        _roll_back_to_before()
    assert rows_of(used, "SELECT name, state::text FROM rollout") == [("old", "running")]
    assert rows_of(used, "SELECT cause, old_state::text, new_state::text FROM rollout_change") == [
        ("noop", None, "running"),
        ("start", None, "running"),
    ]
    [(policy,)] = rows_of(used, "SELECT policy FROM rollout")
    assert policy == {
        "checks": [{"check": "latency", "limit": 200, "min_samples": 500}],
        "max_hold_hours": 6,
        "max_hold_action": "hold",
        "window_minutes": 1440,
    }


def test_going_forward_again_brings_back_what_went(used: Engine) -> None:
    before = _everything(used)
    with runs.in_run(start_run("ada", "a test")):
        _roll_back_to_before()
    apply_all()
    assert _everything(used) == before


def test_a_window_for_all_checks_becomes_each_checks_own(used: Engine) -> None:
    with runs.in_run(start_run("ada", "a test")):
        _roll_back_to_before()
    with used.begin() as tx:
        tx.execute(
            text(
                "INSERT INTO rollout (name, model_version, salt, policy) VALUES ('new', 'v9',"
                """ 'rollout:new', '{"checks": [{"check": "latency", "limit": 1}],"""
                """ "window_minutes": 90}')"""
            )
        )
    apply_all()
    [(policy,)] = rows_of(used, "SELECT policy FROM rollout WHERE name = 'new'")
    assert policy == {"checks": [{"check": "latency", "limit": 1, "window_hours": 1.5}]}


def _everything(engine: Engine) -> list[list[tuple[Any, ...]]]:
    return [
        rows_of(engine, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("rollout", "rollout_stage", "rollout_change")
    ]
