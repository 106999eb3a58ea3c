"""What a holdout shows beside the experiments that were completed while it ran."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from tasks import clock
from tasks.database import control_engine
from tasks.errors import InputError, NotFound
from tasks.experiments.assignment.assigning import get_variant
from tasks.experiments.reporting.holdout import read_holdout, reported_holdouts
from tasks.experiments.reporting.holdout_page import HoldoutReport
from tasks.experiments.statistics.shrinkage import Effect, roll_up
from tasks.rollouts.changes import drafts, manual
from tasks.rollouts.definition.plan import RolloutPlan
from tasks.rollouts.definition.schedule import parse_schedule
from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import metric, start
from tests.database.layered import begin, record

headway = headway_fixture("experiment")
HELD_OUT = [
    {"name": "held-out", "weight": 0.2, "is_control": True},
    {"name": "exposed", "weight": 0.8},
]
Values = dict[str, dict[str, list[float]]]


def spend(tx: Connection, experiment_id: str, effect: float, seed: int) -> dict[str, list[float]]:
    """Every unit of an experiment spends about 10, those beside the control a little more."""
    rng = np.random.default_rng(seed)
    arms = tx.execute(
        text(
            "SELECT a.user_id, v.variant_name AS arm, v.is_control FROM ab_assignments a "
            "JOIN ab_variants v ON v.id = a.variant_id "
            'WHERE a.experiment_id = CAST(:id AS uuid) ORDER BY a.user_id COLLATE "C"'
        ),
        {"id": experiment_id},
    ).all()
    values = {
        row.user_id: float(rng.normal(10 + (0 if row.is_control else effect), 2)) for row in arms
    }
    record(tx, experiment_id, values, "buy")
    told: dict[str, list[float]] = {}
    for row in arms:
        told.setdefault(row.arm, []).append(values[row.user_id])
    return told


def complete(tx: Connection, name: str, winner: str | None) -> None:
    tx.execute(
        text(
            "UPDATE ab_experiments SET status = 'completed', winner_variant = :winner, "
            "completed_at = headway.clock_now() WHERE experiment_name = :name"
        ),
        {"name": name, "winner": winner},
    )
    tx.commit()


def season(tx: Connection, held_out_effect: float) -> Values:
    """A holdout, and experiments in it of which four were launched and one was not."""
    begin(tx, "old", units=300)
    holdout = start(name="winter", is_holdout=True, variants=HELD_OUT)
    told: Values = {}
    for number, effect in enumerate((0.5, 0.3, 0.6, 0.1, 0.4)):
        name = f"idea_{number}"
        told[name] = spend(tx, begin(tx, name, units=1000), effect, number)
        complete(tx, name, None if number == 3 else "red")
    told["winter"] = spend(tx, holdout, held_out_effect, 99)
    clock.shift(tx, timedelta(days=30))  # beside which it is nothing how long it all ran
    return told


def _by_numpy(values: dict[str, list[float]], treatment: str = "red") -> tuple[float, float]:
    control = next(name for name in values if name != treatment)
    pair = [np.array(values[name]) for name in (control, treatment)]
    error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in pair))
    return float(pair[1].mean() - pair[0].mean()), float(error)


def test_launches_are_added_up_beside_what_the_holdout_shows(database: Engine) -> None:
    with database.connect() as tx:
        told = season(tx, held_out_effect=1.8)
        report = read_holdout(tx, "winter")
    by_hand = {name: _by_numpy(told[name]) for name in sorted(told) if name != "winter"}
    for each in report.sums.effects:
        value, error = by_hand[each.experiment]
        assert each.raw.value == pytest.approx(value, rel=1e-9)
        assert each.raw.standard_error == pytest.approx(error, rel=1e-9)
    effects = [Effect(name, *figures, name != "idea_3") for name, figures in by_hand.items()]
    total = roll_up(effects).total
    assert report.sums.launched == 4
    assert report.sums.total.value == pytest.approx(total.value)
    assert report.sums.total.standard_error == pytest.approx(total.standard_error)
    value, error = _by_numpy(told["winter"], "exposed")
    assert report.measured.value == pytest.approx(value, rel=1e-9)
    assert report.sums.gap.value == pytest.approx(value - total.value)
    assert report.sums.gap.standard_error == pytest.approx(np.hypot(error, total.standard_error))
    assert report.sums.agreement == "agrees"
    assert (report.held_out, report.exposed) == tuple(map(len, _arms(told["winter"])))
    assert "that is what was promised" in report.sentence


def _arms(values: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    return values["held-out"], values["exposed"]


def test_a_holdout_that_shows_nothing_says_that_more_was_promised(database: Engine) -> None:
    with database.connect() as tx:
        season(tx, held_out_effect=0.0)
        report = read_holdout(tx, "winter")
    assert report.sums.agreement == "less"
    page = report.as_markdown()
    assert "the 4 launches add up to" in page
    assert "they were promised to bring more" in page
    assert "Whole effects of 4 launches, without luck" in page
    rows = report.csv_rows()
    assert [row["what"] for row in rows].count("effect") == 5
    assert len({frozenset(row) for row in rows}) == 1


def test_nothing_is_promised_by_a_winner_that_not_everybody_else_had(database: Engine) -> None:
    versions = [
        {"name": "control", "weight": 0.5, "is_control": True},
        {"name": "red", "weight": 0.5, "model_version": "red-v2"},
    ]
    rollout = RolloutPlan(name="red", model_version="red-v2", schedule=parse_schedule("100/1h"))
    with database.connect() as tx:
        holdout = start(name="winter", is_holdout=True, variants=HELD_OUT)
        spend(tx, begin(tx, "win", units=1000, variants=versions, policy="roll_out"), 3.0, 1)
        spend(tx, holdout, 1.0, 2)
        complete(tx, "win", "red")
        clock.shift(tx, timedelta(days=10))
        drafts.create(tx, rollout, "ada", "a test")
        report = read_holdout(tx, "winter")
        assert (report.sums.launched, report.sums.agreement) == (0, "unknown")
        assert report.sums.unknown_because == (
            "nothing was launched yet that the holdout could confirm; "
            "of what won no rollout has begun: win"
        )
        assert "| not yet | 0% |" in report.as_markdown()
        manual.start_draft(tx, "red", None, "ada", "a test")
        manual.set_percentage(tx, "red", 50, "ada", "a test")
        clock.shift(tx, timedelta(days=30))
        report = read_holdout(tx, "winter")
        (effect,) = report.sums.effects
        assert effect.is_launched
        assert effect.reach == pytest.approx(0.375, abs=1e-4)
        assert report.sums.gap.value is None
        assert report.sums.agreement == "unknown"
        assert "promised cannot be told: of everybody else's time" in report.sentence
        assert "(win 37.5%)" in report.sentence
        assert "the rollout of win reaches those held out as well" in report.sentence
        assert "Whole effects of 1 launch, without luck" in report.as_markdown()
        tx.execute(text("UPDATE rollout SET respects_holdouts = true"))
        manual.set_percentage(tx, "red", 100, "ada", "a test")
        clock.shift(tx, timedelta(days=3000))
        report = read_holdout(tx, "winter")
    assert report.sums.agreement == "less"
    assert "the 1 launch adds up to +" in report.sentence
    assert report.sentence.endswith("it was promised to bring more.")


def test_units_from_before_are_counted(database: Engine) -> None:
    with database.connect() as tx:
        begin(tx, "past", units=600)
        complete(tx, "past", None)
        begin(tx, "old", units=300)
        start(name="winter", is_holdout=True, variants=HELD_OUT)
        begin(tx, "new", units=600)
        report = read_holdout(tx, "winter")
        both = "SELECT count(*) FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id "
        held_out = tx.scalar(
            text(
                f"{both} WHERE variant_name = 'held-out' AND a.user_id IN ("
                "SELECT user_id FROM ab_assignments JOIN ab_experiments e "
                "ON e.id = experiment_id WHERE experiment_name = 'old')"
            )
        )
    assert [(each.experiment, each.units) for each in report.assigned_before] == [("old", 300)]
    assert report.held_out_elsewhere == held_out > 0
    assert "300 units had an arm before the holdout began" in report.as_markdown()
    assert report.sentence == "What the holdout shows of spend is not known yet."


def test_what_does_not_count_is_left_out_with_the_reason(database: Engine) -> None:
    rules = [{"attribute": "plan", "op": "eq", "value": "pro"}]
    three = [
        {"name": "control", "weight": 0.4, "is_control": True},
        {"name": "red", "weight": 0.3},
        {"name": "blue", "weight": 0.3},
    ]
    with database.connect() as tx:
        holdout = start(name="winter", is_holdout=True, variants=HELD_OUT)
        clicks = metric(name="clicks", event_type="click")
        changed: dict[str, dict[str, Any]] = {
            "others": {"metric": clicks},
            "targeted": {"target_rules": rules},
            "three": {"variants": three},
            "empty": {},
        }
        for name, changes in changed.items():
            start(name=name, **changes)
            complete(tx, name, None if name == "three" else "red")
        for number in range(40):
            get_variant(tx, "winter", f"u{number}")
        tx.commit()
        spend(tx, holdout, 0.0, 1)
        report = read_holdout(tx, "winter")
    why = {each.experiment: each.problem for each in report.sums.left_out}
    assert why.pop("targeted").startswith("it was for targeted users only")
    assert why == {
        "others": "it does not measure spend",
        "three": "it has several treatments and no winner",
        "empty": "its statistics have not been worked out yet",
    }
    assert "what was launched of others, targeted, empty is in it too" in report.sentence


def test_the_command_shows_a_holdout_and_refuses_what_is_none(
    headway: Call, database: Engine
) -> None:
    start(name="winter", is_holdout=True, variants=HELD_OUT)
    start()
    code, document = headway("holdout", "winter", "--json")
    assert (code, document["metric"], document["sums"]["agreement"]) == (0, "spend", "unknown")
    assert HoldoutReport.model_validate(document).holdout == "winter"
    assert "What the holdout shows of spend is not known yet" in headway("holdout", "winter")[1]
    code, said = headway("holdout", "buttons")
    assert (code, "'buttons' is no holdout" in said) == (2, True)
    with control_engine().connect() as connection:
        assert reported_holdouts(connection, ["buttons", "winter"]) == ["winter"]
        with pytest.raises(NotFound, match="no experiment is called 'nothing'"):
            read_holdout(connection, "nothing")
        connection.execute(text("UPDATE ab_experiments SET started_at = NULL"))
        with pytest.raises(InputError, match="has not started yet"):
            read_holdout(connection, "winter")
