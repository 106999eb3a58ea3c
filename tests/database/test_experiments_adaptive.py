"""Bandits, multivariate designs, layers and holdouts as they are stored, changed and given up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from tasks.errors import NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.definition import creating
from tasks.experiments.definition.changing import change
from tasks.experiments.definition.editing import differences
from tasks.experiments.definition.history import read_history
from tasks.experiments.definition.planning import plan_sample
from tasks.experiments.definition.reading import read_experiment
from tasks.experiments.definition.showing import as_markdown, show_experiment
from tests.database.experiments import new_run, plan, start
from tests.database.test_experiments_definition import (
    BANDIT,
    DESIGN,
    HOLDOUT,
    act,
    codes,
    stored,
)
from tests.database.test_experiments_planning import history
from tests.rows import rows_of

SLOTS = """
SELECT experiment_name, layer, round(lower_bound::numeric, 9)::float8,
       round(upper_bound::numeric, 9)::float8
FROM layer_slot JOIN ab_experiments e ON e.id = experiment_id
WHERE status IN ('draft', 'active') ORDER BY layer, lower_bound
"""


def draft(**changes: Any) -> None:
    with new_run():
        steps.create_experiment(plan=plan(**changes))


def in_layer(name: str, share: float, layer: str = "chat") -> dict[str, Any]:
    return {"name": name, "layer": layer, "layer_share": share}


def move_split(database: Engine, experiment_id: str) -> None:
    with database.begin() as tx:
        reallocate(tx, UUID(experiment_id), {"control": 0.2, "red": 0.8}, "bandit", "it leads")


@pytest.mark.parametrize("document", [BANDIT, DESIGN, HOLDOUT], ids=lambda each: each["name"])
def test_an_adaptive_plan_comes_back_as_it_was(
    database: Engine, document: dict[str, Any], run: Any
) -> None:
    steps.create_experiment(plan=plan(name="greeting"))
    planned = plan(**document)
    assert steps.create_experiment(plan=planned).is_new
    assert differences(stored(database, planned.name), planned) == ()
    with new_run():
        assert not steps.create_experiment(plan=planned).is_new
    assert act(planned.name, "start").status == "active"
    with new_run():
        assert not steps.create_experiment(plan=planned).is_new


def test_the_levels_of_each_arm_are_stored_and_follow_an_edit_of_the_draft(
    database: Engine,
) -> None:
    draft(**DESIGN)
    levels = """
    SELECT variant_name, string_agg(factor || ':' || level, ' ' ORDER BY factor)
    FROM variant_level JOIN ab_variants v ON v.id = variant_id GROUP BY 1 ORDER BY 1
    """
    assert rows_of(database, levels) == [
        ("price=high,color=blue,size=s", "color:blue price:high size:s"),
        ("price=high,color=red,size=m", "color:red price:high size:m"),
        ("price=low,color=blue,size=m", "color:blue price:low size:m"),
        ("price=low,color=red,size=s", "color:red price:low size:s"),
    ]
    other = DESIGN | {"factors": DESIGN["factors"][:2], "generators": []}
    act("design", "edit", plan=plan(**other))
    assert [row[0] for row in rows_of(database, levels)] == [
        "price=high,color=blue",
        "price=high,color=red",
        "price=low,color=blue",
        "price=low,color=red",
    ]
    act("design", "start")
    with pytest.raises(Refused) as refusal:
        act("design", "edit", plan=plan(**DESIGN))
    assert codes(refusal) == {"field-is-fixed"}


def test_parts_of_a_layer_never_overlap_and_are_free_again_when_it_is_over(
    database: Engine,
) -> None:
    for name, share in (("first", 0.3), ("second", 0.4), ("third", 0.3)):
        draft(**in_layer(name, share))
    assert rows_of(database, SLOTS) == [
        ("first", "chat", 0, 0.3),
        ("second", "chat", 0.3, 0.7),
        ("third", "chat", 0.7, 1),
    ]
    message = (
        "no free part of 0.4: first .draft. holds 0 to 0.3, second .draft. holds 0.3 to 0.7, "
        "third .draft. holds 0.7 to 1; complete one of them"
    )
    with pytest.raises(Refused, match=message) as refusal:
        draft(**in_layer("fourth", 0.4))
    assert codes(refusal) == {"layer-full"}
    assert rows_of(database, "SELECT count(*) FROM ab_experiments") == [(3,)]
    act("first", "delete")
    act("second", "start")
    act("second", "complete")
    draft(**in_layer("fourth", 0.7))
    assert rows_of(database, SLOTS) == [("fourth", "chat", 0, 0.7), ("third", "chat", 0.7, 1)]
    with database.connect() as connection:
        shown = as_markdown(show_experiment(connection, "second"))
    assert "second: completed" in shown
    assert "| layer | chat |" in shown
    assert "| layer_share | 0.4 |" in shown


def test_what_a_look_completed_holds_no_part_of_a_layer(database: Engine) -> None:
    start(**in_layer("first", 0.8))
    with database.begin() as tx:
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
    draft(**in_layer("second", 0.8))
    assert rows_of(database, SLOTS) == [("second", "chat", 0, 0.8)]
    assert stored(database, "first").layer == "chat"


def test_a_draft_may_move_to_another_part_or_layer_and_one_that_runs_not(database: Engine) -> None:
    draft(**in_layer("first", 0.6))
    act("first", "edit", plan=plan(**in_layer("first", 0.8)))
    assert rows_of(database, SLOTS) == [("first", "chat", 0, 0.8)]
    act("first", "edit", plan=plan(**in_layer("first", 0.8, "voice")))
    assert rows_of(database, SLOTS) == [("first", "voice", 0, 0.8)]
    act("first", "edit", plan=plan(name="first"))
    assert rows_of(database, SLOTS) == []
    assert rows_of(database, "SELECT name FROM layer ORDER BY 1") == [("chat",), ("voice",)]
    act("first", "start")
    with pytest.raises(Refused, match="layer cannot change once an experiment is active"):
        act("first", "edit", plan=plan(**in_layer("first", 0.6)))


def test_what_is_over_and_gave_back_its_part_is_still_the_same_experiment(
    database: Engine,
) -> None:
    start(**in_layer("first", 0.6))
    act("first", "complete")
    assert rows_of(database, SLOTS) == []
    with new_run():
        same = steps.create_experiment(plan=plan(**in_layer("first", 0.6)))
    assert (same.is_new, same.status) == (False, "completed")
    with new_run():
        assert steps.sync_experiment(plan=plan(**in_layer("first", 0.6))).is_noop


def test_days_allow_for_the_part_of_a_layer_that_an_experiment_had_and_will_have(
    database: Engine,
) -> None:
    history(database)
    with database.begin() as tx:
        tx.execute(text("INSERT INTO layer VALUES ('chat')"))
        tx.execute(text("INSERT INTO layer_slot SELECT id, 'chat', 0, 0.4 FROM ab_experiments"))
        planned = plan(minimum_effect=0.1, layer="chat", layer_share=0.2)
        found = plan_sample(planned, read_history(tx, planned, 28))
    assert found.units_a_week == pytest.approx(300 / 0.5 / 0.4 / 14 * 7 * 0.8 * 0.2, rel=0.01)


def test_of_two_who_want_the_same_part_at_once_one_gets_it(database: Engine) -> None:
    def create(name: str) -> str:
        try:
            draft(**in_layer(name, 0.6))
        except Refused as refusal:
            return refusal.reasons[0].code
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(create, ["a", "b", "c", "d"]))
    assert sorted(outcomes) == ["done", "layer-full", "layer-full", "layer-full"]
    assert rows_of(database, "SELECT count(*) FROM layer_slot") == [(1,)]


def test_the_writer_may_take_and_give_back_a_part_of_a_layer(database: Engine) -> None:
    with database.begin() as tx:
        tx.execute(text("SET LOCAL ROLE headway_writer"))
        creating.insert(tx, plan(**DESIGN | in_layer("design", 0.5)), "ada")
        change(tx, "design", "start")
        change(tx, "design", "complete")
    assert rows_of(database, "SELECT name, created_by FROM layer") == [("chat", "ada")]


def test_the_policy_of_a_bandit_that_runs_may_change_and_that_is_kept(database: Engine) -> None:
    draft(name="greeting")
    start(**BANDIT)
    changed = act("bandit", "edit", bandit={"floor": 0.1})
    (change,) = changed.changes
    assert (change.field, change.old["floor"], change.new["floor"]) == ("bandit", 0.02, 0.1)
    found = stored(database, "bandit").bandit
    assert found is not None
    assert (found.algorithm, found.floor) == ("top_two", 0.1)
    kept = "SELECT details -> 'changed' FROM headway.decision WHERE rule = 'experiment-change'"
    assert rows_of(database, kept) == [(["bandit"],)]
    with pytest.raises(Refused, match=r"bandit\.flor: .*did you mean floor"):
        act("bandit", "edit", bandit={"flor": 0.1})


def test_what_a_bandit_made_of_its_split_is_no_other_plan(database: Engine) -> None:
    draft(name="greeting")
    experiment_id = start(**BANDIT)
    move_split(database, experiment_id)
    with new_run():
        assert not steps.create_experiment(plan=plan(**BANDIT)).is_new
    with new_run():
        assert steps.sync_experiment(plan=plan(**BANDIT)).is_noop
    assert {arm.name: arm.weight for arm in stored(database, "bandit").variants} == {
        "control": 0.2,
        "red": 0.8,
    }
    act("bandit", "edit", weights={"control": 0.5, "red": 0.5})  # a person may set it back
    assert rows_of(database, "SELECT max(epoch) FROM allocation") == [(3,)]


def test_the_split_of_a_fixed_design_is_set_back_by_its_file(database: Engine) -> None:
    experiment_id = start()
    move_split(database, experiment_id)
    with new_run():
        assert steps.sync_experiment(plan=plan()).version == 2
    assert {arm.weight for arm in stored(database).variants} == {0.5}


def test_a_segment_of_nothing_is_refused_with_the_nearest_name(database: Engine) -> None:
    draft(name="greeting")
    with pytest.raises(NotFound, match="none is called 'greting'; did you mean 'greeting'"):
        draft(name="in-germany", segment_of="greting")
    draft(name="in-germany", segment_of="greeting")
    with pytest.raises(NotFound, match="segment_of names no experiment"):
        act("in-germany", "edit", plan=plan(name="in-germany", segment_of="nobody"))
    with database.connect() as connection:
        assert read_experiment(connection, "in-germany").plan.segment_of == "greeting"


def test_a_person_sees_the_factors_what_a_fraction_confuses_and_the_bandit(
    database: Engine,
) -> None:
    draft(name="greeting")
    draft(**DESIGN)
    draft(**BANDIT)
    with database.connect() as connection:
        design = as_markdown(show_experiment(connection, "design"))
        bandit = as_markdown(show_experiment(connection, "bandit"))
    assert '| B | color | red, blue | {"blue": {"ui": {"hue": 240}}} |' in design
    assert "4 of 8 cells are tried, by C=-AB. Resolution III" in design
    assert '"algorithm":"top_two","floor":0.02,"warm_up_units":100' in bandit
    assert "| layer_share | 0.3 |" in bandit
