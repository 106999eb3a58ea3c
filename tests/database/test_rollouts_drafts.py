"""Rollouts before they begin: drafts, plans, times to come, and what is in the way of a start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks import clock
from tasks.errors import InputError, NotFound, Refused, UnknownName
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.freeze import FreezeOnce
from tasks.rollouts.definition.plan import RolloutEdit, RolloutPlan
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy, SourceChoice
from tasks.settings import load_settings
from tests.database.rollouts import hours_pass, standing, tick_now
from tests.rows import rows_of

WRITER = text("SET LOCAL ROLE headway_writer")
SOON = datetime(2100, 1, 1, tzinfo=UTC)


def plan(name: str = "rollout", version: str = "v2", **fields: Any) -> RolloutPlan:
    return RolloutPlan.model_validate({"name": name, "model_version": version, **fields})


def do(database: Engine, action: Callable[..., ManualOutcome], *values: Any) -> ManualOutcome:
    with database.begin() as tx:
        tx.execute(WRITER)
        return action(tx, *values, "ada", "because")


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[str]:
    return [reason.code for reason in refused.value.reasons]


def test_a_draft_is_seen_by_nobody_and_its_deletion_leaves_the_audit(database: Engine) -> None:
    do(database, drafts.create, plan())
    assert standing(database) == (0, "draft")
    assert tick_now(database).verdict == "skip"
    do(database, drafts.edit, "rollout", RolloutEdit(organization="acme"))
    do(database, drafts.delete, "rollout")
    assert rows_of(database, "SELECT 1 FROM rollout UNION ALL SELECT 1 FROM rollout_stage") == []
    assert rows_of(
        database, "SELECT rollout_id, cause, new_state, actor FROM rollout_change ORDER BY id"
    ) == [(1, cause, "draft", "ada") for cause in ("create", "edit", "delete")]


def test_an_edit_changes_what_is_given_and_takes_away_what_is_null(database: Engine) -> None:
    fields = {"schedule": "5/2h,100/1h", "control_version": "v1", "organization": "acme"}
    do(database, drafts.create, plan(**fields))
    edit = RolloutEdit.model_validate({"schedule": "7/1h", "control_version": None})
    assert do(database, drafts.edit, "rollout", edit).version == 2
    assert do(database, drafts.edit, "rollout", edit).is_noop
    assert rows_of(
        database,
        "SELECT percentage, duration_seconds FROM rollout_stage",
    ) == [(7, 3600)]
    assert rows_of(database, "SELECT control_version, organization, version FROM rollout") == [
        (None, "acme", 2)
    ]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ({"model_version": None}, "model_version"),
        ({"control_version": "v2"}, "cannot be model_version"),
        ({"schedule": None}, "schedule"),
    ],
)
def test_an_edit_that_makes_no_plan_changes_nothing(
    database: Engine, edit: dict[str, Any], problem: str
) -> None:
    do(database, drafts.create, plan())
    with pytest.raises(InputError, match=problem):
        do(database, drafts.edit, "rollout", RolloutEdit.model_validate(edit))
    assert rows_of(database, "SELECT version FROM rollout") == [(1,)]


def test_what_has_begun_is_neither_edited_nor_deleted_nor_started_again(database: Engine) -> None:
    do(database, manual.start, plan())
    for action, *values in ((drafts.edit, RolloutEdit(organization="a")), (drafts.delete,)):
        with pytest.raises(Refused, match="not-a-draft"):
            do(database, action, "rollout", *values)
    assert do(database, manual.start_draft, "rollout", None).is_noop
    do(database, manual.pause, "rollout")
    with pytest.raises(Refused, match=r"not-a-draft.*paused"):
        do(database, manual.start_draft, "rollout", None)


@pytest.mark.parametrize("action", [manual.pause, manual.resume])
def test_what_has_not_begun_cannot_be_paused_resumed_or_set(
    database: Engine, action: Callable[..., ManualOutcome]
) -> None:
    do(database, drafts.create, plan())
    with pytest.raises(Refused, match="not-begun"):
        do(database, action, "rollout")
    with pytest.raises(Refused, match="not-begun"):
        do(database, manual.set_percentage, "rollout", 5.0)


def test_a_rollout_waits_for_its_time_and_the_tick_starts_it(database: Engine) -> None:
    with database.begin() as tx:
        starts_at = clock.now(tx) + timedelta(hours=2)
    waiting = do(database, manual.start, plan(starts_at=starts_at))
    assert (waiting.state, waiting.percentage, waiting.action) == ("scheduled", 0, "schedule")
    hours_pass(database, 1)
    assert tick_now(database).verdict == "hold"
    hours_pass(database, 1)
    assert tick_now(database).verdict == "start"
    assert standing(database) == (5, "running")
    assert rows_of(database, "SELECT cause, new_percentage FROM rollout_change ORDER BY id") == [
        ("schedule", 0),
        ("start", 5),
    ]


def test_one_that_waits_becomes_a_draft_again_when_it_is_rolled_back(database: Engine) -> None:
    do(database, manual.start, plan(starts_at=SOON))
    back = do(database, manual.roll_back, "rollout")
    assert (back.state, back.action) == ("draft", "manual_rollback")
    assert do(database, manual.roll_back, "rollout").is_noop
    do(database, drafts.edit, "rollout", RolloutEdit.model_validate({"starts_at": None}))
    assert do(database, manual.start_draft, "rollout", None).percentage == 5


def test_a_draft_may_be_told_when_to_start(database: Engine) -> None:
    do(database, drafts.create, plan())
    assert do(database, manual.start_draft, "rollout", SOON).state == "scheduled"
    assert rows_of(database, "SELECT starts_at FROM rollout") == [(SOON,)]


def test_of_a_group_one_is_under_way_whether_it_runs_or_waits(database: Engine) -> None:
    do(database, manual.start, plan("one", "v2", exclusion_group="ranking", starts_at=SOON))
    do(database, drafts.create, plan("two", "v3", exclusion_group="ranking"))
    with pytest.raises(Refused, match=r"group-taken.*'one', which is scheduled"):
        do(database, manual.start_draft, "two", None)
    do(database, manual.roll_back, "one")
    assert do(database, manual.start_draft, "two", None).state == "running"
    with pytest.raises(Refused) as refused:
        do(database, manual.start, plan("three", "v3", exclusion_group="ranking"))
    assert codes(refused) == ["already-active"]


def test_two_that_start_in_one_group_at_once_do_not_both_start(database: Engine) -> None:
    """The second waits for the first, also where that one only waits for its time."""

    def begin(number: int) -> str:
        starts_at = SOON if number % 2 else None
        fields = {"exclusion_group": "ranking", "starts_at": starts_at}
        try:
            return do(database, manual.start, plan(f"r{number}", f"v{number}", **fields)).action
        except Refused as refused:
            return refused.reasons[0].code

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(begin, range(12)))
    assert sorted(outcomes)[:-1] == ["group-taken"] * 11
    assert len(rows_of(database, "SELECT 1 FROM rollout")) == 1


def test_nothing_starts_while_a_freeze_lasts(database: Engine) -> None:
    with database.begin() as tx:
        now = clock.now(tx)
    freeze = FreezeOnce(since=now - timedelta(hours=1), until=now + timedelta(hours=1))
    policy = RolloutPolicy(freezes=(freeze,))
    with pytest.raises(Refused, match="frozen"):
        do(database, manual.start, plan(policy=policy))
    hours_pass(database, 1)
    assert do(database, manual.start, plan(policy=policy)).state == "running"


def test_a_check_that_the_stated_traffic_can_never_decide_is_refused(database: Engine) -> None:
    with pytest.raises(Refused) as refused:
        do(database, manual.start, plan(requests_per_hour=100))
    assert codes(refused) == ["never-decides"] * 3
    assert "100 samples at least" in refused.value.reasons[0].message
    # Only a start is refused: a draft may be mended.
    do(database, drafts.create, plan(requests_per_hour=100))
    with pytest.raises(Refused, match="never-decides"):
        do(database, manual.start_draft, "rollout", None)
    do(database, drafts.edit, "rollout", RolloutEdit(requests_per_hour=2000))
    assert do(database, manual.start_draft, "rollout", None).state == "running"


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (CheckPolicy(check="eror_rate", limit=1), UnknownName, "did you mean 'error_rate'"),
        (
            CheckPolicy(check="latency", limit=1, source=SourceChoice(kind="promethus")),
            UnknownName,
            "did you mean 'prometheus'",
        ),
        (
            CheckPolicy(check="latency", limit=1, source=SourceChoice(kind="prometheus")),
            InputError,
            "cannot use source 'prometheus'",
        ),
    ],
)
def test_an_unknown_check_or_source_is_told_with_the_known_ones(
    database: Engine, check: CheckPolicy, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        do(database, drafts.create, plan(policy=RolloutPolicy(checks=(check,))))
    assert rows_of(database, "SELECT 1 FROM rollout") == []


def test_the_same_draft_again_is_a_noop_and_another_plan_of_that_name_is_refused(
    database: Engine,
) -> None:
    do(database, drafts.create, plan())
    assert do(database, drafts.create, plan()).is_noop
    with pytest.raises(Refused, match="name-taken"):
        do(database, drafts.create, plan(version="v3"))
    assert do(database, manual.start, plan()).state == "running"


def test_an_unknown_draft_is_said_so(database: Engine) -> None:
    with pytest.raises(NotFound, match="'rollout'"):
        do(database, manual.start_draft, "rollout", None)


def test_a_draft_follows_the_users_that_its_version_has_by_then_unless_it_is_resalted(
    database: Engine,
) -> None:
    for name, resalt in (("early", False), ("resalted", True)):
        do(database, drafts.create, plan(name, resalt=resalt))
    do(database, manual.start, plan("one"))
    for name in ("early", "resalted"):
        do(database, manual.roll_back, "one" if name == "early" else "early")
        do(database, manual.start_draft, name, None)
    salts = rows_of(database, "SELECT name, salt, is_salt_inherited FROM rollout ORDER BY id")
    assert salts == [
        ("early", "rollout:one", True),
        ("resalted", "rollout:resalted:resalted", False),
        ("one", "rollout:one", False),
    ]


def test_every_change_is_told_with_its_version(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = '[notify.programs]\nkind = "webhook"\nurl_env = "PROGRAMS_URL"\n'
    (tmp_path / "headway.toml").write_text(channel, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROGRAMS_URL", "http://127.0.0.1:1/")
    load_settings.cache_clear()
    do(database, drafts.create, plan())
    do(database, drafts.delete, "rollout")
    do(database, manual.start, plan())
    do(database, manual.roll_back, "rollout")
    do(database, manual.roll_back, "rollout")
    told = rows_of(
        database,
        "SELECT payload #>> '{details,cause}', CAST(payload #>> '{details,version}' AS integer)"
        " FROM notification WHERE kind = 'rollout-changed' ORDER BY id",
    )
    assert told == [("create", 1), ("delete", 2), ("start", 1), ("manual_rollback", 2)]
    assert rows_of(database, "SELECT cause, version FROM rollout_change ORDER BY id") == [
        *told,
        ("noop", 2),
    ]


def test_the_same_plan_started_by_many_at_once_is_started_once(database: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        started = list(threads.map(lambda _: do(database, manual.start, plan()), range(8)))
    assert sorted(each.action for each in started) == [*["noop"] * 7, "start"]
