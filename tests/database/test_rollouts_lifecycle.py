"""Whatever people and ticks do to rollouts, in any order, audit and table tell the same story."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import Connection, Engine

from tasks import clock
from tasks.errors import NotFound, Refused
from tasks.rollouts.changes import drafts, manual, record
from tasks.rollouts.definition.plan import RolloutEdit, RolloutPlan
from tests.database.rollouts import FAILING, HEALTHY, hours_pass, tick_now, traffic
from tests.rows import rows_of

BY = ("ada", "because")
BROKEN = """
    SELECT rollout.id, rollout.state, rollout.percentage, rollout.version, last.*
    FROM rollout
    LEFT JOIN LATERAL (
        SELECT new_state, new_percentage, version AS told
        FROM rollout_change WHERE rollout_id = rollout.id
        ORDER BY rollout_change.id DESC LIMIT 1
    ) AS last ON true
    WHERE (new_state, new_percentage, told) IS DISTINCT FROM (state, percentage, version)
"""
GAPS = """
    SELECT id, cause FROM (
        SELECT *,
            lag(new_percentage, 1, 0::double precision) OVER by_rollout AS percentage_before,
            lag(new_state) OVER by_rollout AS state_before,
            lag(version, 1, 0) OVER by_rollout AS version_before
        FROM rollout_change WINDOW by_rollout AS (PARTITION BY rollout_id ORDER BY id)
    ) AS change
    WHERE old_percentage <> percentage_before
        OR old_state IS DISTINCT FROM state_before
        OR version - version_before <> (cause <> 'noop')::integer
"""
CROWDED = """
    SELECT model_version FROM rollout
    WHERE state IN ('scheduled', 'running', 'paused', 'manual_hold')
    GROUP BY model_version HAVING count(*) > 1
    UNION ALL
    SELECT exclusion_group FROM rollout
    WHERE state IN ('scheduled', 'running', 'paused', 'manual_hold')
        AND exclusion_group IS NOT NULL
    GROUP BY exclusion_group HAVING count(*) > 1
"""


def person(random: Random) -> Callable[[Connection], object]:
    """Something that a person does to one of six rollouts of two versions."""
    name = f"r{random.randrange(6)}"
    version = f"v{random.randrange(2)}"
    group = random.choice([None, "group"])
    plan = RolloutPlan.model_validate(
        {"name": name, "model_version": version, "schedule": "5/1h,50/2h,100/1h"}
        | {"exclusion_group": group}
    )
    edit = RolloutEdit(model_version=version, exclusion_group=group)
    percentage = random.choice([0.0, 3.0, 50.0, 70.0, 100.0])
    later = random.choice([None, timedelta(hours=2)])
    actions: list[Callable[[Connection], object]] = [
        lambda tx: drafts.create(tx, plan, *BY),
        lambda tx: drafts.edit(tx, name, edit, *BY),
        lambda tx: drafts.delete(tx, name, *BY),
        lambda tx: manual.start(tx, plan, *BY),
        lambda tx: manual.start_draft(tx, name, clock.now(tx) + later if later else None, *BY),
        lambda tx: manual.pause(tx, name, *BY),
        lambda tx: manual.resume(tx, name, *BY),
        lambda tx: manual.set_percentage(tx, name, percentage, *BY),
        lambda tx: manual.roll_back(tx, name, *BY),
    ]
    return random.choices(actions, weights=[3, 1, 1, 3, 4, 1, 2, 2, 1])[0]


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_doings_keeps_audit_and_table_alike(database: Engine, seed: int) -> None:
    """Scenarios 28 and 29. Guard: one door to every change, and the row lock."""
    random = Random(seed)
    done = refused = 0
    for _ in range(50):
        if random.random() < 0.3:
            hours_pass(database, random.choice([0.5, 1, 2]))
            for version in ("v0", "v1"):
                kind = FAILING if random.random() < 0.1 else HEALTHY
                traffic(database, kind, version=version)
            for rollout_id in rows_of(database, "SELECT id FROM rollout ORDER BY id"):
                tick_now(database, *rollout_id)
        else:
            action = person(random)
            try:
                with database.begin() as tx:
                    action(tx)
                done += 1
            except (Refused, NotFound):
                refused += 1
        assert rows_of(database, BROKEN) == rows_of(database, CROWDED) == []
    assert rows_of(database, GAPS) == []
    assert done > 5
    assert refused > 0
    with database.connect() as connection:
        assert all(
            each.percentage == 0
            for each in record.all_rollouts(connection)
            if not each.state.is_begun
        )
