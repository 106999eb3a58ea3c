"""Plans of bandits, multivariate designs, layers and holdouts: what fits together and what not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.experiments.definition.designed import design_words
from tasks.experiments.definition.editing import (
    ExperimentEdit,
    as_it_stands,
    differences,
    edited,
)
from tasks.experiments.definition.factors import levels_of
from tasks.experiments.definition.files import as_plan, parse
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.layers.slots import Slot, first_gap, gaps
from tests.unit.definitions import BANDIT, DESIGN, FACTORS, HOLDOUT, PLAN

TWO = [{"name": "price", "levels": ["low", "high"]}, {"name": "color", "levels": ["red", "blue"]}]
PAIRS = ("AB", "AC", "AD", "BC", "BD", "CD")
LEFT_OUT: dict[str, Any] = {name: PLAN[name] for name in PLAN if name != "variants"}


def planned(document: dict[str, Any]) -> ExperimentPlan:
    return as_plan(document, "the file")


def factors(count: int, levels: int = 2) -> list[dict[str, Any]]:
    told = [str(level) for level in range(levels)]
    return [{"name": f"f{number}", "levels": told} for number in range(count)]


def test_every_cell_of_a_design_is_an_arm_and_the_base_is_the_control() -> None:
    plan = planned(LEFT_OUT | {"factors": TWO})
    assert [(arm.name, arm.weight, arm.is_control) for arm in plan.variants] == [
        ("price=low,color=red", 0.25, True),
        ("price=low,color=blue", 0.25, False),
        ("price=high,color=red", 0.25, False),
        ("price=high,color=blue", 0.25, False),
    ]


def test_an_arm_has_the_settings_of_all_its_levels() -> None:
    plan = planned(DESIGN)
    assert {arm.name: arm.config_overrides for arm in plan.variants} == {
        "price=low,color=red,size=s": {},
        "price=low,color=blue,size=m": {"ui": {"hue": 240, "width": 2}},
        "price=high,color=red,size=m": {"ui": {"width": 2}},
        "price=high,color=blue,size=s": {"ui": {"hue": 240}},
    }
    assert plan.design is not None
    assert levels_of(plan.design)[3:6] == [
        {"variant": "price=low,color=blue,size=m", "factor": factor, "level": level}
        for factor, level in (("price", "low"), ("color", "blue"), ("size", "m"))
    ]


def test_a_plan_that_names_the_cells_itself_may_weigh_and_label_them() -> None:
    made = planned(LEFT_OUT | {"factors": TWO})
    arms = [arm.model_dump() | {"label": arm.name.upper()} for arm in made.variants]
    for arm, weight in zip(arms, (0.4, 0.2, 0.2, 0.2), strict=True):
        arm["weight"] = weight
    told = planned(PLAN | {"factors": TWO, "variants": arms})
    assert {change.field for change in differences(made, told)} == {"weight", "label"}


def test_fifteen_factors_in_sixteen_runs_are_a_plan() -> None:
    generated = [f"{name}=-{pair}" for name, pair in zip("EFGHJK", PAIRS, strict=True)]
    generated += ["L=ABC", "M=ABD", "N=ACD", "O=BCD", "P=-ABCD"]
    plan = planned(LEFT_OUT | {"factors": factors(15), "generators": generated})
    assert len(plan.variants) == 16
    assert plan.variants[0].is_control


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "needs two variants or more, not 0; or factors, which make the variants"),
        ({"factors": TWO, "generators": ["B=A"]}, "main effects would be aliases of each other"),
        ({"factors": factors(3), "generators": ["C=AB"]}, "leaves out the base, .*; write C=-AB"),
        (
            {"factors": factors(5), "generators": ["D=AB", "E=-ABC"]},
            "leaves out the base, .*; write D=-AB, E=ABC",
        ),
        ({"factors": factors(3), "generators": ["C=AX"]}, "generator 'C=AX' cannot be read"),
        ({"factors": factors(3, 3), "generators": ["C=-AB"]}, "a fraction needs two levels of ea"),
        ({"generators": ["C=AB"], "variants": PLAN["variants"]}, "say the factors"),
        ({"factors": factors(7)}, "128 cells are more than 100 arms; say generators"),
        ({"factors": factors(24, 100)}, "cells are more than 100 arms; leave out levels or fac"),
        (
            {"factors": factors(8), "generators": ["H=-ABCDEFG"]},
            "128 cells are more than 100 arms; say one generator more$",
        ),
        ({"factors": [TWO[0], TWO[0]]}, "two factors have the same name: price, price"),
        ({"factors": [{"name": "x", "levels": ["a", "a"]}]}, "two or more levels, each named once"),
        ({"factors": [{"name": "x,y", "levels": ["a", "b"]}]}, r"factors\[0\]\.name: it holds ','"),
        ({"factors": [{"name": "x", "levels": ["a", "b=c"]}]}, r"levels\[1\]: it holds ',' or '='"),
        ({"factors": [{"name": "epoch", "levels": ["a", "b"]}]}, "cannot be called 'epoch'"),
        (
            {"factors": TWO, "dimensions": ["color"]},
            "a factor cannot be called 'color': a dimension is",
        ),
        (
            {"factors": [TWO[0] | {"configuration": {"hihg": {}}}]},
            "'price' has no level 'hihg'; did you mean 'high'\\? levels: low, high",
        ),
        (
            {"factors": [TWO[0] | {"configuration": {"high": {"ui": {"hue": 1}}}}, *FACTORS[1:]]},
            "factor 'color' sets 'hue', which another factor sets otherwise",
        ),
        ({"factors": [{"name": "x" * 250, "levels": ["a" * 9, "b"]}]}, "more than 255 characters"),
        (
            {"factors": [TWO[0] | {"level": ["low"]}]},
            r"factors\[0\]\.level: .* did you mean levels\?",
        ),
        (
            {"factors": TWO, "variants": PLAN["variants"]},
            "'a' is no cell of the design; leave variants out",
        ),
        ({"factors": TWO, "bandit": {}}, "needs the split that it was planned with"),
        ({"factors": TWO, "is_holdout": True}, "a holdout has no factors"),
    ],
)
def test_a_design_that_cannot_be_tried_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(LEFT_OUT | changes)


def test_cells_that_are_named_must_be_all_with_the_base_as_control() -> None:
    arms = [arm.model_dump() for arm in planned(LEFT_OUT | {"factors": TWO}).variants]
    for changed, message in (
        (arms[:3], "the design has an arm 'price=high,color=blue' too"),
        ([*arms[:3], arms[3] | {"name": "price=high,color=bleu"}], "mean 'price=high,color=blue'"),
        (
            [arms[0] | {"is_control": False}, arms[1] | {"is_control": True}, *arms[2:]],
            "the control of the design is its base, 'price=low,color=red'",
        ),
    ):
        with pytest.raises(InputError, match=message):
            planned(PLAN | {"factors": TWO, "variants": changed})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bandit": {"algorithm": "tompson"}},
            "bandit: no algorithm is called 'tompson'; did you mean 'thompson'\\? choose one of: ",
        ),
        ({"bandit": {"flor": 0.1}}, r"bandit\.flor: .* did you mean floor\?"),
        ({"bandit": {"warm_up_hours": float("inf")}}, "less than or equal to 1000000, not inf"),
        ({"bandit": {}, "method": "bayesian"}, "the method bayesian promises no error"),
        ({"bandit": {"floor": 0}}, "floor must be above 0"),
        (
            {"bandit": {}, "metric": PLAN["metric"] | {"kind": "quantile", "quantile": 0.9}},
            "a quantile cannot be compared within the epochs",
        ),
        ({"bandit": {"floor": 0.6}}, "0.6 for each of 2 arms is more than all .* at most 0.5"),
        ({"layer": "chat"}, "say layer_share"),
        ({"layer_share": 0.5}, "say which layer"),
        ({"layer": "chat", "layer_share": 0}, "layer_share: .* not 0"),
        ({"layer": "chat", "layer_share": 1.5}, "layer_share: .* not 1.5"),
        ({"is_holdout": True, "policy": "select"}, "has the policy recommend, not select"),
        ({"is_holdout": True, "bandit": {}}, "a holdout has no bandit: it is a plain split"),
        (
            {"is_holdout": True, "layer": "chat", "layer_share": 0.1, "bandit": {}},
            "a holdout has no bandit and no layer",
        ),
        (
            {
                "is_holdout": True,
                "variants": [
                    {"name": "a", "weight": 0.1, "is_control": True},
                    {"name": "b", "weight": 0.4},
                    {"name": "c", "weight": 0.5},
                ],
            },
            "a holdout has two arms, .* not 3",
        ),
        ({"segment_of": "p"}, "segment_of names the experiment itself"),
        ({"is_holdot": True}, "did you mean is_holdout"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(PLAN | changes)


def test_a_holdout_is_only_reported_unless_somebody_says_otherwise() -> None:
    plan = planned(PLAN | {"is_holdout": True})
    assert plan.policy == "recommend"
    assert differences(plan, planned(HOLDOUT)) == ()


def test_an_adaptive_plan_is_written_in_toml() -> None:
    text = """
    name = "p"
    planned_sample_size = 1000
    layer = "chat"
    layer_share = 0.1
    generators = ["C = -AB"]
    metric = {name = "m", kind = "mean", event_type = "e", aggregation = "sum", missing = "zero"}
    [[factors]]
    name = "price"
    levels = ["low", "high"]
    [[factors]]
    name = "color"
    levels = ["red", "blue"]
    configuration.blue.ui.hue = 240
    [[factors]]
    name = "size"
    levels = ["s", "m"]
    configuration.m.ui.width = 2
    """
    assert differences(planned(parse(text, ".toml")), planned(DESIGN)) == ()
    text = """
    name = "p"
    planned_sample_size = 1000
    variants = [{name = "a", weight = 0.5, is_control = true}, {name = "b", weight = 0.5}]
    metric = {name = "m", kind = "mean", event_type = "e", aggregation = "sum", missing = "zero"}
    [bandit]
    algorithm = "top_two"
    floor = 0.02
    """
    told = {"bandit": {"algorithm": "top_two", "floor": 0.02}}
    assert differences(planned(parse(text, ".toml")), planned(PLAN | told)) == ()


def test_a_bandit_that_runs_keeps_the_split_that_it_came_to() -> None:
    plan = planned(BANDIT)
    moved = edited(plan, ExperimentEdit(weights={"a": 0.9, "b": 0.1}))
    assert differences(moved, as_it_stands(plan, moved, "active")) == ()
    assert {c.field for c in differences(moved, as_it_stands(plan, moved, "draft"))} == {"weight"}
    fixed = planned(PLAN)
    assert (
        as_it_stands(fixed, edited(fixed, ExperimentEdit(weights={"a": 0.9, "b": 0.1})), "active")
        == fixed
    )


def test_an_edit_of_a_bandit_changes_what_it_names_only() -> None:
    plan = planned(BANDIT)
    changed = edited(plan, ExperimentEdit(bandit={"floor": 0.1}))
    assert changed.bandit is not None
    assert plan.bandit is not None
    assert changed.bandit == plan.bandit.model_copy(update={"floor": 0.1})
    started = edited(planned(PLAN), ExperimentEdit(bandit={"algorithm": "top_two"}))
    assert started.bandit is not None
    assert started.bandit.floor == 0.01


def test_a_design_says_what_it_cannot_tell_apart() -> None:
    design = planned(DESIGN).design
    full = planned(LEFT_OUT | {"factors": TWO}).design
    four = LEFT_OUT | {"factors": factors(4), "generators": ["D=ABC"]}
    assert design is not None
    assert full is not None
    assert design_words(design) == (
        "4 of 8 cells are tried, by C=-AB. Resolution III: a main effect is one figure with "
        "interactions of two. Not told apart: A = -BC; B = -AC; C = -AB."
    )
    assert design_words(full) == "All 4 cells are tried: no two effects are confused."
    fourth = planned(four).design
    assert fourth is not None
    assert "Not told apart: AB = CD; AC = BD; AD = BC." in design_words(fourth)


def test_the_first_free_part_of_a_layer_is_given() -> None:
    taken = [Slot(0.6, 0.9), Slot(0.0, 0.3)]
    assert gaps(taken) == [Slot(0.3, 0.6), Slot(0.9, 1.0)]
    assert first_gap(taken, 0.3) == Slot(0.3, 0.6)
    assert first_gap(taken, 0.1) == Slot(0.3, 0.4)
    assert first_gap(taken, 0.31) is None
    assert first_gap([], 1) == Slot(0, 1)


def test_ten_tenths_fill_a_layer_though_a_tenth_is_no_binary_number() -> None:
    taken: list[Slot] = []
    for _ in range(10):
        found = first_gap(taken, 0.1)
        assert found is not None
        taken.append(found)
    assert gaps(taken) == []
    assert {slot.share for slot in taken} == {0.1}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(1e-6, 1), st.integers(0, 9)), max_size=30))
def test_parts_of_a_layer_never_overlap_whoever_comes_and_goes(
    asked: list[tuple[float, int]],
) -> None:
    held: list[Slot] = []
    for share, leaving in asked:
        found = first_gap(held, share)
        if found is None:
            assert max((free.share for free in gaps(held)), default=0) < share
            held = [slot for number, slot in enumerate(held) if number != leaving]
            continue
        assert found.share == pytest.approx(share, abs=1e-9)
        held.append(found)
        ordered = sorted(held)
        assert all(0 <= slot.lower < slot.upper <= 1 for slot in ordered)
        assert all(one.upper <= other.lower for one, other in pairwise(ordered))
