"""A winner is rolled out once, by its experiment's policy, to users of its own."""

from __future__ import annotations

from threading import Thread
from typing import Any

from sqlalchemy import Engine, text

from flows.analyze import analyze_experiments, select_winner
from flows.pipeline import run_by_ledger
from tasks.decisions import replay
from tasks.experiments import steps
from tasks.experiments.definition.showing import as_markdown, show_experiment
from tasks.experiments.reporting.detailed import read_report
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.changes.lineage import WinnerOutcome, roll_out_winner
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rules import load_rules
from tests.database.experiments import new_run, plan
from tests.rows import rows_of

ROLLOUTS = (
    "SELECT r.name, model_version, control_version, state::text, percentage, o.variant_name "
    "FROM rollout r LEFT JOIN rollout_origin o ON o.rollout_id = r.id ORDER BY r.id"
)


def started(
    policy: str, version: str | None = "red-v2", control: str | None = "v1", **planned: Any
) -> None:
    """An experiment that runs, and whose red arm is a model version."""
    variants = [
        {"name": "control", "weight": 0.5, "is_control": True, "model_version": control},
        {"name": "red", "weight": 0.5, "model_version": version},
    ]
    with new_run():
        steps.create_experiment(
            plan=plan(policy=policy, variants=variants, **planned), is_started=True
        )


def choose(variant: str = "red") -> None:
    person = {"experiment": "buttons", "actor": "ada", "reason": "it looks good"}
    run_by_ledger(select_winner, person | {"variant": variant, "is_forced": True})


def analyze() -> None:
    run_by_ledger(analyze_experiments, {})


def made(database: Engine) -> WinnerOutcome | None:
    with database.begin() as tx:
        return roll_out_winner(tx, "buttons", "headway")


def verdicts(database: Engine) -> list[tuple[Any, ...]]:
    return rows_of(
        database,
        "SELECT verdict, reasons -> 0 ->> 'code' FROM headway.decision "
        "WHERE rule = 'rollout-of-winner' ORDER BY id",
    )


def test_the_policy_roll_out_starts_a_rollout_of_the_winner_once(database: Engine) -> None:
    started("roll_out")
    choose()
    for _ in range(2):
        analyze()
    red = ("buttons-red", "red-v2", "v1", "running", 5.0, "red")
    assert rows_of(database, ROLLOUTS) == [red]
    assert verdicts(database) == [("start", "policy")]
    assert rows_of(database, "SELECT respects_holdouts FROM rollout") == [(True,)]
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()


def test_another_policy_leaves_a_draft_for_a_person(database: Engine) -> None:
    started("select")
    choose()
    assert rows_of(database, ROLLOUTS) == [("buttons-red", "red-v2", "v1", "draft", 0.0, "red")]
    assert verdicts(database) == [("draft", "by-hand")]


def test_a_draft_that_somebody_deleted_does_not_come_back(database: Engine) -> None:
    started("select")
    choose()
    with database.begin() as tx:
        drafts.delete(tx, "buttons-red", "ada", "no need")
    analyze()
    assert rows_of(database, "SELECT count(*) FROM rollout") == [(0,)]
    assert made(database) is None


def test_its_users_are_others_than_those_of_the_experiment_and_of_earlier_rollouts(
    database: Engine,
) -> None:
    with database.begin() as tx:
        earlier = RolloutPlan(name="earlier", model_version="red-v2")
        manual.start(tx, earlier, "ada", "a test")
        manual.roll_back(tx, "earlier", "ada", "a test")
    started("roll_out")
    choose()
    salts = rows_of(database, "SELECT salt, is_salt_inherited FROM rollout ORDER BY id")
    assert len({salt for salt, _ in salts}) == 2
    assert not any(is_inherited for _, is_inherited in salts)


def test_a_start_that_is_refused_leaves_a_draft_and_says_why(database: Engine) -> None:
    with database.begin() as tx:
        busy = RolloutPlan(name="busy", model_version="red-v2")
        manual.start(tx, busy, "ada", "a test")
        manual.start(tx, RolloutPlan(name="buttons-red", model_version="x"), "ada", "a test")
    started("roll_out")
    choose()
    assert verdicts(database) == [("draft", "by-hand")]
    reasons = "SELECT reasons -> 1 ->> 'message' FROM headway.decision WHERE verdict = 'draft'"
    assert "is being rolled out by 'busy'" in rows_of(database, reasons)[0][0]
    [(name, state)] = rows_of(
        database, "SELECT name, state::text FROM rollout WHERE id = (SELECT max(id) FROM rollout)"
    )
    assert (name[:12], state) == ("buttons-red-", "draft")


def test_what_names_no_version_is_not_rolled_out(database: Engine) -> None:
    started("roll_out", version=None)
    choose()
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_variants SET model_version = 'late'"))
    analyze()  # nobody wished for it while it named none
    assert rows_of(database, ROLLOUTS) == []


def test_a_control_that_wins_is_what_everybody_has(database: Engine) -> None:
    started("select")
    choose("control")
    analyze()
    assert rows_of(database, ROLLOUTS) == []


def test_a_winner_that_cannot_be_planned_is_decided_once(database: Engine) -> None:
    started("select")
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_variants SET model_version = 'a' || chr(10) || variant_name"))
    choose()
    analyze()
    assert verdicts(database) == [("none", "no-plan")]
    assert rows_of(database, ROLLOUTS) == []


def test_two_that_roll_the_same_winner_out_make_one_rollout(database: Engine) -> None:
    started("select")
    choose()
    with database.begin() as tx:
        tx.execute(text("ALTER TABLE headway.decision DISABLE TRIGGER USER"))
        tx.execute(text("DELETE FROM headway.decision WHERE rule = 'rollout-of-winner'"))
        tx.execute(text("DELETE FROM rollout_stage; DELETE FROM rollout"))
    found: list[WinnerOutcome | None] = []
    workers = [Thread(target=lambda: found.append(made(database))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(outcome is None for outcome in found) == [False, True]
    assert len(rows_of(database, ROLLOUTS)) == 1


def test_the_experiment_shows_that_its_winner_was_rolled_back(database: Engine) -> None:
    started("roll_out")
    choose()
    with database.begin() as tx:
        manual.roll_back(tx, "buttons-red", "ada", "errors of 8 %")
    with database.connect() as connection:
        shown = as_markdown(show_experiment(connection, "buttons"))
        page = read_report(connection, "buttons").as_markdown()
    for said in (shown, page):
        assert "rolled back, from 5 % at most" in said
        assert "errors of 8 %" in said
