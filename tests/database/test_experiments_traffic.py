"""Bandits updated on a real database: what is held, what moves, and nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, event, text

from tasks.database import control_engine
from tasks.decisions import replay
from tasks.errors import InputError, NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.quality.model import SuiteFindings
from tasks.experiments.traffic.allocating import allocate
from tasks.experiments.traffic.results import Allocated
from tasks.rules import load_rules
from tests.database.bandits import RATES, later, set_policy, start_bandit, visit
from tests.database.experiments import PASSED, fold_now, look, metric, new_run, start
from tests.rows import rows_of

EPOCHS = "SELECT count(*) FROM allocation"
DECISIONS = "SELECT count(*) FROM headway.decision WHERE rule = 'traffic-allocation'"


def update(experiment_id: str, suites: SuiteFindings | None = PASSED) -> Allocated:
    """One update in a run of its own, by what is folded by now."""
    fold_now(experiment_id)
    with new_run():
        (found,) = steps.allocate_batch(experiment_ids=[experiment_id], suites=suites)
    return found


def draw() -> np.random.Generator:
    return np.random.default_rng(20261121)


def test_an_update_opens_an_epoch_and_says_why(database: Engine) -> None:
    bandit = start_bandit()
    came = visit(draw(), 500)
    found = update(bandit)
    assert (found.outcome, found.code, found.epoch) == ("changed", "stepped", 2)
    assert found.weights["b"] == pytest.approx(0.45, abs=1e-6)  # 0.2 and the largest step
    assert sum(found.weights.values()) == 1.0
    (epoch,) = rows_of(database, "SELECT actor, reason FROM allocation WHERE epoch = 2")
    assert epoch == ("allocate-traffic", found.message)
    stored = "SELECT variant_name, traffic_weight FROM ab_variants"
    assert dict(rows_of(database, stored)) == found.weights
    inputs = "SELECT arm ->> 'name', CAST(arm ->> 'n' AS integer) FROM headway.decision d, "
    inputs += "jsonb_array_elements(d.inputs -> 'arms') arm WHERE d.rule = 'traffic-allocation'"
    assert dict(rows_of(database, inputs)) == came
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()


def test_a_second_update_on_the_same_figures_moves_nothing(database: Engine) -> None:
    bandit = start_bandit()
    visit(draw(), 500)
    first = update(bandit)
    later(hours=1)
    again = update(bandit)
    assert (again.outcome, again.code, again.weights) == ("skipped", "nothing-new", first.weights)
    assert rows_of(database, EPOCHS) == [(2,)]
    assert rows_of(database, DECISIONS) == [(1,)]
    visit(draw(), 300, prefix="later")
    assert update(bandit).epoch == 3


def test_an_arm_that_had_its_traffic_in_good_times_is_no_better_for_it(database: Engine) -> None:
    """Alike throughout; pooled over the epochs the second arm would be the best for certain."""
    bandit = start_bandit(rates={"control": 0.3, "a": 0.3}, policy={"warm_up_units": 50})
    random = draw()
    visit(random, 600, rates={"control": 0.3, "a": 0.3})
    update(bandit)
    with database.begin() as tx:
        reallocate(tx, UUID(bandit), {"control": 0.9, "a": 0.1}, "ada", "more of what is known")
    visit(random, 1_200, rates={"control": 0.08, "a": 0.08}, prefix="later")
    update(bandit)
    arms = {arm["name"]: arm for arm in _last_details(database)["arms"]}
    assert arms["a"]["n"] + arms["control"]["n"] == 1_800
    assert 0.02 < arms["a"]["chance_best"] < 0.98
    ((whole,),) = rows_of(database, _POOLED)
    assert whole > 0.08


_POOLED = """
    SELECT max(mean) - min(mean) FROM moment_statistic WHERE dimension = '' AND level = ''
"""


def _last_details(database: Engine) -> dict[str, Any]:
    last = "SELECT details FROM headway.decision WHERE rule = 'traffic-allocation' "
    ((details,),) = rows_of(database, f"{last} ORDER BY id DESC LIMIT 1")
    return dict(details)


def test_updates_at_the_same_time_are_one(database: Engine) -> None:
    bandit = start_bandit()
    visit(draw(), 500)
    fold_now(bandit)

    def once(_: int) -> str:
        with control_engine().begin() as tx:
            (found,) = allocate(tx, [bandit], PASSED)
        return found.outcome

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(once, range(4)))
    assert outcomes == ["changed", "skipped", "skipped", "skipped"]
    assert rows_of(database, EPOCHS) == [(2,)]


def test_the_policy_changed_is_something_new(database: Engine) -> None:
    bandit = start_bandit()
    visit(draw(), 500)
    update(bandit)
    set_policy("greeting", {"warm_up_units": 20, "floor": 0.1, "maximum_step": 1.0})
    found = update(bandit)
    assert found.outcome == "changed"
    assert min(found.weights.values()) >= 0.1 - 1e-9


@pytest.mark.parametrize(
    ("change", "suites", "code"),
    [
        ("UPDATE ab_experiments SET status = 'paused'", PASSED, "paused"),
        ("UPDATE ab_experiments SET updated_at = now()", None, "quality-unknown"),
        (
            "UPDATE ab_experiments SET updated_at = now()",
            SuiteFindings(failed=("ab_metrics: a rule",)),
            "quality-failed",
        ),
        ("UPDATE experiment_metric SET role = 'secondary'", PASSED, "metric-missing"),
        ("DELETE FROM moment_statistic", PASSED, "metric-missing"),
    ],
)
def test_what_is_not_known_to_be_sound_is_held(
    database: Engine, change: str, suites: SuiteFindings | None, code: str
) -> None:
    bandit = start_bandit()
    visit(draw(), 500)
    fold_now(bandit)
    with database.begin() as tx:
        tx.execute(text(change))
    with new_run():
        (found,) = steps.allocate_batch(experiment_ids=[bandit], suites=suites)
    assert (found.outcome, found.code) == ("held", code)
    assert rows_of(database, EPOCHS) == [(1,)]


def test_a_bandit_warms_up_by_units_and_by_hours(database: Engine) -> None:
    bandit = start_bandit(policy={"warm_up_units": 100, "warm_up_hours": 6})
    visit(draw(), 60)
    assert update(bandit).code == "warming-up"
    visit(draw(), 500, prefix="more")
    assert update(bandit).code == "warming-up"
    later(hours=7)  # no figure has changed, but the hours are over
    assert update(bandit).outcome == "changed"


def test_an_arm_where_nobody_converts_gets_less_and_holds_nothing_up(database: Engine) -> None:
    rates = {"control": 0.3, "b": 0.0}
    bandit = start_bandit(rates=rates, policy={"warm_up_units": 20, "maximum_step": 1.0})
    visit(draw(), 400, rates=rates)
    found = update(bandit)
    assert (found.outcome, found.code) == ("changed", "allocated")
    assert found.weights["b"] == pytest.approx(0.01, abs=1e-6)
    decided = look(bandit).verdict
    assert decided is not None
    (check,) = (each for each in decided.details["checks"] if each["name"] == "missing-metric")
    assert (check["outcome"], "b has no event 'buy'" in check["message"]) == ("passed", True)


def test_where_lower_is_better_an_arm_whose_events_are_missing_gets_no_more(
    database: Engine,
) -> None:
    rates = {"control": 0.3, "b": 0.0}
    crashed = metric(name="crashed", kind="proportion", aggregation="any", missing="zero")
    bandit = start_bandit(rates=rates, metric=crashed | {"is_higher_better": False})
    assert update(bandit).outcome == "held"  # nobody has come
    visit(draw(), 400, rates=rates)
    found = update(bandit)
    assert (found.outcome, found.code) == ("held", "quality-failed")
    assert "missing-metric: crashed: b has no event 'buy' though others do" in found.message


def test_an_arm_that_is_switched_off_stays_at_nothing(database: Engine) -> None:
    bandit = start_bandit()
    visit(draw(), 500)
    weights = dict.fromkeys(RATES, 0.25) | {"b": 0.0}
    with database.begin() as tx:
        (row,) = tx.execute(text("SELECT id FROM ab_experiments"))
        reallocate(tx, row.id, weights, "ada", "b misbehaves")
    found = update(bandit)
    assert found.weights["b"] == 0.0
    assert visit(draw(), 200, prefix="more")["b"] == 0


def test_an_arm_that_an_update_took_to_nothing_may_come_back(database: Engine) -> None:
    """Without a floor an arm may get less than a slot of the bucket: that is not for good."""
    rates = {"control": 0.02, "b": 0.98}
    policy = {"warm_up_units": 5, "floor": 0.0, "maximum_step": 1.0}
    bandit = start_bandit(rates=rates, policy=policy)
    visit(draw(), 400, rates=rates)
    found = update(bandit)
    assert found.weights == {"control": 0.0, "b": 1.0}
    visit(draw(), 20, rates=rates, prefix="more")
    again = update(bandit)
    inputs = "SELECT inputs -> 'arms' FROM headway.decision ORDER BY id DESC LIMIT 1"
    ((arms,),) = rows_of(database, inputs)
    assert [arm["is_open"] for arm in arms] == [True, True]
    assert again.code == "small-change"


def test_a_fixed_design_is_never_touched(database: Engine) -> None:
    fixed = start()
    bandit = start_bandit()
    visit(draw(), 200)
    with new_run():
        assert [each.name for each in steps.list_bandits()] == ["greeting"]
    fold_now(fixed)
    fold_now(bandit)
    with new_run():
        found = steps.allocate_batch(experiment_ids=[fixed, bandit], suites=PASSED)
    assert {each.experiment: each.code for each in found}["buttons"] == "fixed-design"
    assert rows_of(database, f"{EPOCHS} WHERE experiment_id = '{fixed}'") == [(1,)]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nobody", NotFound, "no experiment is called"),
        ("buttons", Refused, "fixed-design"),
        ("greeting", Refused, "over"),
    ],
)
def test_only_a_running_bandit_can_be_updated_by_hand(
    database: Engine, name: str, error: type[Exception], message: str
) -> None:
    start()
    start_bandit()
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
    with new_run(), pytest.raises(error, match=message):
        steps.list_bandits(experiment=name)


def test_a_policy_that_makes_no_sense_is_named(database: Engine) -> None:
    bandit = start_bandit(policy={"flor": 1})
    with new_run(), pytest.raises(InputError, match="flor"):
        steps.allocate_batch(experiment_ids=[bandit], suites=PASSED)


@pytest.mark.parametrize("kind", ["mean", "ratio", "quantile"])
def test_a_bandit_follows_a_metric_of_any_kind(database: Engine, kind: str) -> None:
    of_kind: dict[str, dict[str, Any]] = {
        "ratio": {"denominator_event_type": "view", "denominator_aggregation": "count"},
        "quantile": {"quantile": 0.5},
    }
    measured = {
        "name": "spend",
        "kind": kind,
        "event_type": "buy",
        "aggregation": "sum",
        "missing": "exclude",
        **of_kind.get(kind, {}),
    }
    bandit = start_bandit(metric=measured, policy={"warm_up_units": 20, "maximum_step": 1.0})
    random = draw()
    with database.begin() as tx:
        for number in range(300):
            unit = f"u{number}"
            arm = tx.scalar(text("SELECT assign_variant('greeting', :u)"), {"u": unit})
            spent = random.normal(12 if arm == "c" else 10, 1)
            for kind_of, value in (("buy", spent), ("view", 1.0)):
                tx.execute(
                    text("SELECT track_event('greeting', :u, :k, :v, :e)"),
                    {"u": unit, "k": kind_of, "v": value, "e": f"{kind_of}{unit}"},
                )
    found = update(bandit)
    assert (found.outcome, found.code) == ("changed", "allocated")
    assert found.weights["c"] > 0.9


def test_many_bandits_take_no_more_statements_than_one(database: Engine) -> None:
    ids = [start_bandit(f"bandit-{number}") for number in range(4)]
    for number in range(4):
        visit(draw(), 400, f"bandit-{number}")
    for each in ids:
        fold_now(each)
    counts = []
    for batch in (ids[:1], ids[1:]):
        sent: list[str] = []
        with control_engine().begin() as tx:
            event.listen(tx, "before_cursor_execute", lambda *a, s=sent: s.append(a[2]))
            found = allocate(tx, batch, PASSED)
        assert {each.outcome for each in found} == {"changed"}
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 16
