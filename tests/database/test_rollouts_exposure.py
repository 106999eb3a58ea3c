"""Who gets a version: the same users by every way to ask, more of them as the percentage grows."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import Connection, Engine, text

from tasks import clock
from tasks.bucketing import bucket, is_exposed
from tasks.errors import InputError
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.schedule import parse_schedule
from tasks.rollouts.exposure import should_use_new_model, users_of_new_model
from tasks.rollouts.reporting.detail import read_details
from tasks.rollouts.reporting.detail_page import as_markdown
from tasks.rollouts.reporting.status import rollout_status
from tests.database.rollouts import an_hour, hours_pass, tick_now, traffic

ODD_UNITS = [
    " ",
    "7",
    "007",
    "7.0",
    "a:b",
    "Zoë",
    "Zoe\u0308",
    "用户-7",
    "😀",
    "👩‍👩‍👧",
    "x" * 70_000,
    "ß" * 70_000,
]
UNITS = [*ODD_UNITS, *(f"user-{number}" for number in range(5_000)), *map(str, range(2_000))]
SQL_BUCKETS = text("SELECT unit, bucket(:salt, unit) FROM unnest(CAST(:units AS text[])) AS unit")
SQL_SET = text(
    "SELECT user_id FROM should_use_new_model(CAST(:units AS text[]), :version) WHERE should_use"
)
USERS = [f"user-{number}" for number in range(100_000)]
SQL_EXPOSED = text(
    "SELECT unit FROM unnest(CAST(:units AS text[])) AS unit"
    " WHERE should_use_new_model(unit, :version)"
)


def start(tx: Connection, name: str, version: str, schedule: str = "25/4h,100/24h") -> None:
    plan = RolloutPlan(name=name, model_version=version, schedule=parse_schedule(schedule))
    manual.start(tx, plan, "tester", "a test")


def exposed(tx: Connection, version: str, units: list[str] = USERS) -> set[str]:
    """The users that the set-returning function gives the version to."""
    return set(tx.scalars(SQL_SET, {"units": units, "version": version}))


def test_who_has_the_version_keeps_it_and_the_shares_are_those_of_the_stages(
    database: Engine,
) -> None:
    """Scenarios 23 and 24. Guard: one bucket a user, compared with the percentage."""
    shares = [0.0, 5.0, 25.0, 50.0, 75.0, 100.0]
    seen = []
    with database.begin() as tx:
        start(tx, "one", "v2")
        for share in shares:
            manual.set_percentage(tx, "one", share, "tester", "a test")
            seen.append(exposed(tx, "v2"))
    assert (seen[0], seen[-1]) == (set(), set(USERS))
    assert all(fewer < more for fewer, more in pairwise(seen))
    for share, users in zip(shares, seen, strict=True):
        assert len(users) / len(USERS) * 100 == pytest.approx(share, abs=0.6)


def test_the_user_with_the_largest_bucket_is_in_at_all_and_the_smallest_out_at_none(
    database: Engine,
) -> None:
    """Scenario 23. Guard: a bucket is below 1, and compared by less than."""
    last = max(USERS, key=lambda user: bucket("rollout:one", user))
    first = min(USERS, key=lambda user: bucket("rollout:one", user))
    with database.begin() as tx:
        start(tx, "one", "v2", "100/1h")
        assert exposed(tx, "v2", [last]) == {last}
        just_below = bucket("rollout:one", last) * 100
        manual.set_percentage(tx, "one", just_below, "tester", "a test")
        assert exposed(tx, "v2", [last]) == set()
        manual.set_percentage(tx, "one", 0.0, "tester", "a test")
        assert exposed(tx, "v2", [first]) == set()


def test_every_process_and_every_way_to_ask_gives_the_same_answer(
    database: Engine,
) -> None:
    """Scenario 25. Guard: md5 of salt and user, not the hash of a process."""
    with database.begin() as tx:
        start(tx, "one", "v2")
        users = USERS[:2_000]
        by_sql = exposed(tx, "v2", users)
        by_python = users_of_new_model(tx, users, "v2")
    assert {user for user, is_in in by_python.items() if is_in} == by_sql
    code = (
        "from tasks.bucketing import is_exposed\n"
        "print(''.join('01'[is_exposed('rollout:one', f'user-{n}', 25)] for n in range(2000)))"
    )
    here = "".join("01"[user in by_sql] for user in users)
    for seed in ("0", "1", "4294967295"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        asked = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        assert asked.stdout.decode().strip() == here


def test_odd_user_ids_get_the_same_answer_by_sql_and_python(database: Engine) -> None:
    """Scenario 26. Guard: user ids are text, in UTF-8."""
    with database.begin() as tx:
        start(tx, "one", "v2")
        manual.set_percentage(tx, "one", 50.0, "tester", "a test")
        by_python = users_of_new_model(tx, ODD_UNITS, "v2")
        assert exposed(tx, "v2", ODD_UNITS) == {unit for unit, is_in in by_python.items() if is_in}
        one_by_one = {unit: should_use_new_model(tx, unit, "v2") for unit in ODD_UNITS}
        assert one_by_one == by_python
        seven, padded = bucket("rollout:one", "7"), bucket("rollout:one", "007")
    assert seven != padded


def test_two_rollouts_at_five_percent_share_five_percent_of_their_users(database: Engine) -> None:
    """Scenario 27. Guard: every rollout has a salt of its own."""
    with database.begin() as tx:
        start(tx, "one", "v2", "5/1h,100/1h")
        start(tx, "two", "v3", "5/1h,100/1h")
        first, second = exposed(tx, "v2"), exposed(tx, "v3")
    assert len(first & second) / len(first) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("is_fail_closed", [True, False])
def test_without_a_tick_for_two_intervals_the_old_version_is_the_answer_where_that_is_asked(
    database: Engine, is_fail_closed: bool
) -> None:
    plan = RolloutPlan(
        name="one",
        model_version="v2",
        schedule=parse_schedule("100/48h"),
        is_fail_closed=is_fail_closed,
        tick_seconds=3600,
    )
    with database.begin() as tx:
        manual.start(tx, plan, "tester", "a test")
    hours_pass(database, 1.9)
    with database.begin() as tx:
        assert should_use_new_model(tx, "user-1", "v2")
    hours_pass(database, 0.2)
    with database.begin() as tx:
        assert should_use_new_model(tx, "user-1", "v2") is not is_fail_closed
        assert (exposed(tx, "v2", ["user-1"]) == set()) is is_fail_closed
        [shown] = rollout_status(tx)
        assert shown.traffic == ("0 % (closed: no tick)" if is_fail_closed else "100 %")
        [found] = read_details(tx, ["one"])
        page = as_markdown(found)
        assert ("closed, 0 % of users instead of 100 %" in page) is is_fail_closed
        assert manual.pause(tx, "one", "tester", "a test").percentage == 100
    traffic(database)
    tick_now(database)
    with database.begin() as tx:
        assert should_use_new_model(tx, "user-1", "v2")


def test_what_is_completed_needs_no_ticks(database: Engine) -> None:
    plan = RolloutPlan(
        name="one", model_version="v2", schedule=parse_schedule("100/0h"), is_fail_closed=True
    )
    with database.begin() as tx:
        manual.start(tx, plan, "tester", "a test")
    assert an_hour(database).verdict == "complete"
    hours_pass(database, 1000)
    with database.begin() as tx:
        assert should_use_new_model(tx, "user-1", "v2")


def test_a_draft_or_one_that_waits_leaves_the_answer_to_the_last_rollout_of_its_version(
    database: Engine,
) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2", "100/0h")
    an_hour(database)
    with database.begin() as tx:
        later = RolloutPlan(
            name="later", model_version="v2", starts_at=clock.now(tx) + timedelta(days=1)
        )
        drafts.create(tx, later, "tester", "a test")
        assert exposed(tx, "v2", ODD_UNITS) == set(ODD_UNITS)
        assert manual.start_draft(tx, "later", None, "tester", "a test").state == "scheduled"
        assert exposed(tx, "v2", ODD_UNITS) == set(ODD_UNITS)
        assert manual.roll_back(tx, "later", "tester", "a test").state == "draft"
        assert exposed(tx, "v2", ODD_UNITS) == set(ODD_UNITS)


@pytest.mark.parametrize("salt", ["rollout:one", "", "sälz:😀"])
def test_sql_and_python_agree_on_every_bucket(database: Engine, salt: str) -> None:
    with database.connect() as connection:
        rows = connection.execute(SQL_BUCKETS, {"salt": salt, "units": ["", *UNITS]})
        found = {row.unit: row.bucket for row in rows}
    assert found == {unit: bucket(salt, unit) for unit in ("", *UNITS)}


def test_sql_and_python_give_the_same_users_the_new_model(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        by_sql = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        by_python = {u for u, is_in in users_of_new_model(tx, UNITS, "v2").items() if is_in}
    assert by_sql == by_python == {unit for unit in UNITS if is_exposed("rollout:one", unit, 25)}
    assert 0.2 < len(by_sql) / len(UNITS) < 0.3


@pytest.mark.parametrize("percentage", [0, 0.01, 33.3, 99.999, 100])
def test_both_agree_at_any_percentage(database: Engine, percentage: float) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        manual.set_percentage(tx, "one", percentage, "tester", "a test")
        by_sql = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
    assert by_sql == {unit for unit in UNITS if is_exposed("rollout:one", unit, percentage)}


def test_nobody_gets_an_unknown_or_a_rolled_back_version(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2", "100/1h")
        assert should_use_new_model(tx, "user-1", "v2")
        assert not should_use_new_model(tx, "user-1", "v3")
        manual.roll_back(tx, "one", "tester", "a test")
        assert not should_use_new_model(tx, "user-1", "v2")
        assert not list(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        assert tx.scalar(text("SELECT should_use_new_model(NULL, NULL)")) is False


def test_the_newest_rollout_of_a_version_answers_for_the_same_users(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        before = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        manual.roll_back(tx, "one", "tester", "a test")
        start(tx, "two", "v2")
        assert set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"})) == before
        salts = tx.execute(text("SELECT salt, is_salt_inherited FROM rollout ORDER BY id")).all()
    assert [tuple(row) for row in salts] == [("rollout:one", False), ("rollout:one", True)]


def test_a_rollout_may_draw_other_users(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        before = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
        manual.roll_back(tx, "one", "tester", "a test")
        plan = RolloutPlan(
            name="two", model_version="v2", schedule=parse_schedule("25/1h"), resalt=True
        )
        manual.start(tx, plan, "tester", "a test")
        after = set(tx.scalars(SQL_EXPOSED, {"units": UNITS, "version": "v2"}))
    assert 0.15 < len(before & after) / len(before) < 0.35


def test_nobody_is_no_user(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2", "100/1h")
        with pytest.raises(InputError, match="this one is empty"):
            should_use_new_model(tx, "", "v2")
        with pytest.raises(InputError, match="this one is empty"):
            users_of_new_model(tx, ["user-1", ""], "v2")
        for nobody in ("", None):
            asked = {"nobody": nobody}
            assert tx.scalar(text("SELECT should_use_new_model(:nobody, 'v2')"), asked) is False
        assert exposed(tx, "v2", ["user-1", ""]) == {"user-1"}


def test_a_number_is_not_a_user_id(database: Engine) -> None:
    with database.begin() as tx:
        start(tx, "one", "v2")
        with pytest.raises(InputError, match="must be text"):
            should_use_new_model(tx, 7, "v2")  # type: ignore[arg-type]
