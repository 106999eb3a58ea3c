from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.errors import InputError, NotFound, Refused, UnknownName
from tasks.rollouts.changes import manual, record
from tasks.rollouts.changes.outcome import ManualOutcome
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.policy import DEFAULT_CHECKS, CheckPolicy, GuardName, RolloutPolicy
from tasks.rollouts.definition.schedule import parse_schedule
from tests.database.rollouts import FAILING, an_hour, begin, hours_pass, standing, tick_now
from tests.rows import rows_of

AUDIT = (
    "SELECT cause, old_percentage, new_percentage, actor, reason FROM rollout_change ORDER BY id"
)

each_guard = pytest.mark.parametrize("guard", ["threshold", "sequential"])


def judged_by(guard: GuardName) -> RolloutPolicy:
    """The rates of the default checks: for a mean the sequential guard asks for its spread, too."""
    errors, _, accuracy = DEFAULT_CHECKS
    return RolloutPolicy(guard=guard, checks=(errors, accuracy))


def do(database: Engine, action: Callable[..., ManualOutcome], *values: object) -> ManualOutcome:
    with database.begin() as tx:
        return action(tx, "rollout", *values, "ada", "because")


def test_a_rollback_by_hand_is_audited_and_a_second_one_is_a_noop(database: Engine) -> None:
    """Scenario 13. Guard: the state under a row lock."""
    begin(database)
    first, second = do(database, manual.roll_back), do(database, manual.roll_back)
    assert (first.percentage, first.is_noop) == (0, False)
    assert (second.percentage, second.is_noop) == (0, True)
    assert standing(database) == (0, "rolled_back")
    assert rows_of(database, AUDIT) == [
        ("start", 0, 5, "tester", "a test"),
        ("manual_rollback", 5, 0, "ada", "because"),
        ("noop", 0, 0, "ada", "because"),
    ]


@pytest.mark.parametrize("state", ["paused", "manual_hold", "completed"])
def test_a_rollback_by_hand_wins_in_every_state(database: Engine, state: str) -> None:
    begin(database, "100/0h")
    if state == "paused":
        do(database, manual.pause)
    elif state == "manual_hold":
        do(database, manual.set_percentage, 40.0)
    else:
        assert an_hour(database).verdict == "complete"
    assert standing(database)[1] == state
    do(database, manual.roll_back)
    assert standing(database) == (0, "rolled_back")


@each_guard
def test_a_percentage_set_by_hand_holds_until_resumed_then_the_next_stage_is_whole(
    database: Engine, guard: GuardName
) -> None:
    """Scenario 14. Guard: threshold, and sequential."""
    begin(database, policy=judged_by(guard))
    for _ in range(3):
        an_hour(database)
    do(database, manual.set_percentage, 40.0)
    for _ in range(6):
        assert an_hour(database).verdict == "hold"
    assert standing(database) == (40, "manual_hold")
    do(database, manual.resume)
    assert standing(database) == (40, "running")
    percentages = [an_hour(database).percentage for _ in range(9)]
    assert percentages == [*[50] * 8, 75]


def test_harm_rolls_back_although_a_person_set_the_percentage(database: Engine) -> None:
    """Scenario 15. Guard: threshold."""
    begin(database)
    do(database, manual.set_percentage, 40.0)
    assert an_hour(database, FAILING).verdict == "rollback"
    assert standing(database) == (0, "rolled_back")


@each_guard
def test_a_pause_stops_the_stage_clock_but_not_the_guard(
    database: Engine, guard: GuardName
) -> None:
    """Scenarios 16 and 17. Guard: threshold, and sequential."""
    begin(database, policy=judged_by(guard))
    for _ in range(3):
        an_hour(database)
    assert standing(database) == (25, "running")
    do(database, manual.pause)
    for _ in range(10):
        assert an_hour(database).verdict == "hold"
    do(database, manual.resume)
    assert [an_hour(database).percentage for _ in range(3)] == [25, 25, 50]
    do(database, manual.pause)
    assert an_hour(database, FAILING).verdict == "rollback"
    assert standing(database) == (0, "rolled_back")


@pytest.mark.parametrize("percentage", [101.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_percentage_is_refused_and_not_audited(
    database: Engine, percentage: float
) -> None:
    """Scenario 18. Guard: the rule, and the table's check beneath it."""
    begin(database)
    with pytest.raises(InputError, match="between 0 and 100"):
        do(database, manual.set_percentage, percentage)
    assert len(rows_of(database, AUDIT)) == 1


@pytest.mark.parametrize("percentage", [0.0, 100.0])
def test_nobody_and_everybody_can_be_set(database: Engine, percentage: float) -> None:
    """Scenario 18. Guard: the bounds belong to the range."""
    begin(database)
    do(database, manual.set_percentage, percentage)
    assert standing(database) == (percentage, "manual_hold")


def test_after_nobody_the_first_stage_follows_without_samples(database: Engine) -> None:
    begin(database)
    do(database, manual.set_percentage, 0.0)
    do(database, manual.resume)
    hours_pass(database, 1)
    assert tick_now(database).percentage == 5


def test_after_everybody_the_bake_follows(database: Engine) -> None:
    begin(database)
    do(database, manual.set_percentage, 100.0)
    hours_pass(database, 30)
    do(database, manual.resume)
    verdicts = [an_hour(database).verdict for _ in range(24)]
    assert verdicts == [*["hold"] * 23, "complete"]


@pytest.mark.parametrize("action", [manual.pause, manual.resume])
def test_what_has_ended_cannot_be_paused_or_resumed(
    database: Engine, action: Callable[..., ManualOutcome]
) -> None:
    begin(database)
    do(database, manual.roll_back)
    with pytest.raises(Refused, match="start a new rollout"):
        do(database, action)
    with pytest.raises(Refused, match="start a new rollout"):
        do(database, manual.set_percentage, 5.0)


def test_a_pause_of_what_is_held_and_a_resume_of_what_runs_are_noops(database: Engine) -> None:
    begin(database)
    assert do(database, manual.resume).is_noop
    do(database, manual.pause)
    assert do(database, manual.pause).is_noop
    assert [row[0] for row in rows_of(database, AUDIT)] == ["start", "noop", "pause", "noop"]


def test_an_unknown_name_is_said_so(database: Engine) -> None:
    with pytest.raises(NotFound, match="no rollout named 'rollout'"):
        do(database, manual.roll_back)


def test_the_same_plan_again_does_nothing_and_another_one_of_that_name_is_refused(
    database: Engine,
) -> None:
    assert not begin(database).is_noop
    assert begin(database).is_noop
    with pytest.raises(Refused, match="name-taken"):
        begin(database, schedule="50/1h")


def test_a_version_has_one_active_rollout(database: Engine) -> None:
    begin(database)
    with pytest.raises(Refused, match=r"already-active.*'rollout'"):
        begin(database, name="another")
    do(database, manual.roll_back)
    assert not begin(database, name="another").is_noop


def test_an_unknown_check_or_experiment_starts_nothing(database: Engine) -> None:
    with pytest.raises(UnknownName, match="error_rate"):
        begin(database, policy=RolloutPolicy(checks=(CheckPolicy(check="eror_rate", limit=1),)))
    plan = RolloutPlan(
        name="rollout",
        model_version="v2",
        schedule=parse_schedule("100/1h"),
        experiment="unknown",
        variant="b",
    )
    with pytest.raises(NotFound, match="'unknown'"), database.begin() as tx:
        manual.start(tx, plan, "tester", "a test")
    assert rows_of(database, "SELECT 1 FROM rollout") == []


def test_a_rollout_is_tied_to_the_experiment_whose_winner_it_is(database: Engine) -> None:
    with database.begin() as tx:
        experiment_id = tx.scalar(
            text(
                "INSERT INTO ab_experiments (experiment_name, winner_variant) "
                "VALUES ('colour', 'blue') RETURNING id"
            )
        )
        tx.execute(
            text("INSERT INTO ab_variants (experiment_id, variant_name) VALUES (:id, 'blue')"),
            {"id": experiment_id},
        )
        plan = RolloutPlan(
            name="rollout",
            model_version="blue",
            schedule=parse_schedule("100/1h"),
            experiment="colour",
            variant="blue",
        )
        manual.start(tx, plan, "tester", "a test")
    assert rows_of(database, "SELECT experiment_id, variant FROM rollout") == [
        (experiment_id, "blue")
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rollout_change SET actor = 'nobody'",
        "DELETE FROM rollout_change",
        "TRUNCATE rollout_change",
    ],
)
def test_the_audit_cannot_be_changed(database: Engine, statement: str) -> None:
    """Scenario 28. Guard: a trigger of the database."""
    begin(database)
    with pytest.raises(DBAPIError, match="append-only"), database.begin() as tx:
        tx.execute(text(statement))


def test_a_rollout_with_an_audit_cannot_be_deleted(database: Engine) -> None:
    begin(database)
    with pytest.raises(DBAPIError, match="only a draft may be deleted"), database.begin() as tx:
        tx.execute(text("DELETE FROM rollout"))


def test_the_audit_alone_gives_every_present_percentage(database: Engine) -> None:
    """Scenario 29. Guard: each change has its row in the same transaction."""
    begin(database)
    an_hour(database)
    an_hour(database)
    do(database, manual.set_percentage, 40.0)
    begin(database, name="second", version="v3")
    begin(database, name="third", version="v4")
    with database.begin() as tx:
        manual.roll_back(tx, "third", "ada", "because")
    rebuilt = rows_of(
        database,
        "SELECT DISTINCT ON (rollout_id) rollout_id, new_percentage, new_state"
        " FROM rollout_change ORDER BY rollout_id, id DESC",
    )
    assert rebuilt == rows_of(database, "SELECT id, percentage, state FROM rollout ORDER BY id")
    assert rebuilt == [(1, 40, "manual_hold"), (2, 5, "running"), (3, 0, "rolled_back")]


def test_every_change_of_a_percentage_has_its_row_with_the_check_behind_it(
    database: Engine,
) -> None:
    """Scenario 28. Guard: change, audit, decision and check commit together."""
    begin(database)
    an_hour(database)
    an_hour(database)
    do(database, manual.set_percentage, 40.0)
    an_hour(database, FAILING)
    assert rows_of(
        database,
        "SELECT cause, old_percentage, new_percentage, actor, version, decision_id IS NOT NULL,"
        " (SELECT metric FROM health_check WHERE health_check.id = health_check_id)"
        " FROM rollout_change ORDER BY rollout_change.id",
    ) == [
        ("start", 0, 5, "tester", 1, False, None),
        ("advance", 5, 25, "headway", 2, True, "error_rate"),
        ("manual_set", 25, 40, "ada", 3, False, None),
        ("rollback", 40, 0, "headway", 4, True, "error_rate"),
    ]


def test_a_reader_sees_every_rollout_the_newest_first(database: Engine) -> None:
    begin(database)
    begin(database, name="second", version="v3")
    with database.connect() as connection:
        found = record.all_rollouts(connection)
    assert [rollout.name for rollout in found] == ["second", "rollout"]
