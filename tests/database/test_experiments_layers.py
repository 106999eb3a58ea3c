"""Layers and holdouts: one unit, many at once and Python give one answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from sqlalchemy import Connection, Engine, text

from tasks.experiments.assignment.assigning import explain_variant, get_variant
from tasks.experiments.assignment.batch import AssignedUnits, assign_batch
from tasks.experiments.assignment.choosing_many import choose_units, lock_split
from tasks.experiments.assignment.overrides import set_override
from tasks.experiments.assignment.units import UnitSource, stage_units
from tasks.experiments.quality.gathering import gather
from tests.database.layered import make, make_holdout
from tests.database.serving import FLAGS, served

SOURCE = UnitSource(table="asking")
EVERYBODY = text(
    "SELECT e.experiment_name, a.user_id, v.variant_name, a.bucket_value, a.epoch, a.is_override, "
    "a.session_id, a.metadata::text "
    "FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id "
    "JOIN ab_experiments e ON e.id = a.experiment_id ORDER BY 1, 2"
)
RULES = [{"attribute": "plan", "op": "eq", "value": "pro"}]
Row = tuple[str, str]  # unit and plan

bounds = st.tuples(st.sampled_from(["pages", "prices"]), st.sampled_from([0, 0.3, 0.5])).map(
    lambda each: (each[0], each[1], each[1] + 0.4)
)
parts = st.none() | bounds
rules = st.sampled_from([[], RULES])
states = st.sampled_from(["active", "active", "paused", "completed"])
holdouts = st.lists(
    st.fixed_dictionaries(
        {
            "share": st.sampled_from([0.1, 0.5]),
            "status": states,
            "rules": rules,
            "fraction": st.sampled_from([1, 0.7]),
            "part": parts,
            "organization": st.sampled_from([None, "acme", "other"]),
        }
    ),
    max_size=3,
)
rows = st.lists(
    st.tuples(st.integers(0, 40).map("u{}".format), st.sampled_from(["pro", "free"])),
    min_size=1,
    max_size=16,
)
choices = st.lists(st.tuples(st.integers(0, 40).map("u{}".format), st.integers(0, 3)), max_size=4)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    part=parts,
    fraction=st.sampled_from([1, 0.6]),
    asked_rules=rules,
    held=holdouts,
    before=rows,
    asked=rows,
    overrides=choices,
    is_holdout=st.sampled_from([False, False, False, True]),
)
def test_one_by_one_or_all_at_once_everybody_gets_what_python_says(
    database: Engine,
    part: Any,
    fraction: float,
    asked_rules: Any,
    held: Any,
    before: list[Row],
    asked: list[Row],
    overrides: list[tuple[str, int]],
    is_holdout: bool,
) -> None:
    with database.connect() as tx:
        given = {"part": part, "rules": asked_rules, "fraction": fraction}
        make(tx, "buttons", organization="acme", is_holdout=is_holdout, **given)
        for number, each in enumerate(held):
            make_holdout(tx, f"hold-{number}", **each)
        _one_by_one(tx, before[:5])
        for unit, number in overrides:
            name, arms = [("buttons", ("control", "red")), *HOLDOUTS][number]
            if number <= len(held):
                set_override(tx, name, unit, arms[int(unit[1:]) % 2], "ada", "a look")
        alone = tx.begin_nested()
        _one_by_one(tx, asked)
        one_by_one = tx.execute(EVERYBODY).all()
        alone.rollback()
        result = _at_once(tx, asked)
        assert tx.execute(EVERYBODY).all() == one_by_one
        assert _adds_up(result)
        tx.rollback()


HOLDOUTS = [(f"hold-{number}", ("held-out", "exposed")) for number in range(3)]


def _one_by_one(tx: Connection, asked: list[Row]) -> None:
    for unit, plan in asked:
        said = explain_variant(tx, "buttons", unit, {"plan": plan})
        found = get_variant(tx, "buttons", unit, session=plan, attributes={"plan": plan})
        assert found == said.variant
        assert (said.by is None) == (said.why not in {"held-out", "outside-layer"})


def _at_once(tx: Connection, asked: list[Row]) -> AssignedUnits:
    tx.execute(
        text(
            "CREATE TEMPORARY TABLE asking AS SELECT u ->> 0 AS user_id, u ->> 1 AS session_id, "
            "json_build_object('plan', u ->> 1) AS attributes "
            "FROM json_array_elements(CAST(:rows AS json)) u"
        ),
        {"rows": json.dumps(asked)},
    )
    return assign_batch(tx, "buttons", SOURCE)


def _adds_up(result: AssignedUnits) -> bool:
    refused = result.outside_traffic + result.not_targeted + result.outside_layer + result.held_out
    return result.rows == result.assigned + result.kept + refused + result.rejected


def test_a_batch_counts_whom_layers_and_holdouts_keep_out(database: Engine) -> None:
    with database.begin() as tx:
        make(tx, "buttons", part=("pages", 0.0, 0.5))
        make_holdout(tx, "winter", 0.2)
        result = _at_once(tx, [(f"u{n}", "pro") for n in range(1000)])
        winter = tx.execute(
            text(
                "SELECT v.variant_name, count(*) FROM ab_assignments a "
                "JOIN ab_variants v ON v.id = a.variant_id "
                "WHERE v.variant_name IN ('held-out', 'exposed') GROUP BY 1 ORDER BY 1"
            )
        ).all()
    counts = {"exposed": result.assigned, "held-out": result.held_out}
    assert [tuple(row) for row in winter] == list(counts.items())
    # Half are in the layer's part, and a fifth of those are held out.
    assert result.outside_layer == pytest.approx(500, abs=60)
    assert result.held_out == pytest.approx(100, abs=30)
    assert _adds_up(result)
    assert f"{result.outside_layer} outside the layer's part, {result.held_out} held out" in (
        result.summary
    )


def test_two_batches_that_ask_one_holdout_take_turns(database: Engine) -> None:
    with database.begin() as tx:
        for name in ("buttons", "prices"):
            make(tx, name)
        make_holdout(tx, "winter", 0.5)
        units = "SELECT 'u' || n AS user_id FROM generate_series(1, 500) n"
        tx.execute(text(f"CREATE TABLE forth AS {units}"))
        tx.execute(text(f"CREATE TABLE back AS {units} ORDER BY n DESC"))

    def assign(which: tuple[str, str]) -> AssignedUnits:
        with database.begin() as tx:
            return assign_batch(tx, which[0], UnitSource(table=which[1]))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(assign, [("buttons", "forth"), ("prices", "back")])
    assert first.held_out == second.held_out > 200
    with database.connect() as connection:
        rows = connection.execute(EVERYBODY).all()
    assert len(rows) == 500 + 2 * first.assigned


def test_experiments_of_one_layer_share_no_unit_and_two_layers_are_independent(
    database: Engine,
) -> None:
    with database.begin() as tx:
        make(tx, "buttons", part=("pages", 0.0, 0.5))
        make(tx, "banners", part=("pages", 0.5, 1.0))
        make(tx, "prices", part=("money", 0.0, 0.5))
        tx.execute(
            text(
                "CREATE TABLE asking AS "
                "SELECT 'user-' || n AS user_id FROM generate_series(1, 100000) n"
            )
        )
        stage_units(tx, SOURCE)
        for name in ("buttons", "banners", "prices"):
            split = lock_split(tx, name)
            assert split is not None
            choose_units(tx, split, chosen=f"in_{name}")
        counted = tx.execute(
            text(
                "SELECT a.variant_id IS NOT NULL AS a, b.variant_id IS NOT NULL AS b, "
                "p.variant_id IS NOT NULL AS p, count(*) AS n FROM in_buttons a "
                "JOIN in_banners b USING (line_number) JOIN in_prices p USING (line_number) "
                "GROUP BY 1, 2, 3"
            )
        ).all()
    assert all(row.a != row.b for row in counted)
    table = [[sum(r.n for r in counted if (r.a, r.p) == (a, p)) for p in (0, 1)] for a in (0, 1)]
    assert sum(map(sum, table)) == 100_000
    assert stats.chi2_contingency(table, correction=False).pvalue > 0.001


def test_who_is_held_out_or_outside_the_layer_is_served_the_control(database: Engine) -> None:
    with database.begin() as tx:
        make(tx, "buttons", {"control": 0.0, "red": 1.0}, part=("pages", 0.0, 0.5))
        make_holdout(tx, "winter", 0.5)
        why = {f"u{n}": explain_variant(tx, "buttons", f"u{n}") for n in range(40)}
    assert {choice.why for choice in why.values()} == {"allocated", "outside-layer", "held-out"}
    with served(database) as client:
        for unit, choice in why.items():
            body = {"context": {"targetingKey": unit}}
            flag = client.post(f"{FLAGS}/buttons", json=body).json()
            is_in = choice.variant is not None
            assert flag["value"] == ("red" if is_in else "control")
            assert flag["reason"] == ("SPLIT" if is_in else "DEFAULT")
            assert flag["metadata"]["isParticipant"] is is_in
            # The holdout is a flag too: it says who sees nothing new.
            if choice.why == "held-out":
                assert client.post(f"{FLAGS}/winter", json=body).json()["value"] == "held-out"


def test_a_unit_in_two_experiments_of_one_layer_stops_both(database: Engine) -> None:
    with database.begin() as tx:
        ids = [
            UUID(make(tx, "buttons", part=("pages", 0.0, 0.5))),
            UUID(make(tx, "banners", part=("pages", 0.5, 1.0))),
            UUID(make(tx, "prices", part=("money", 0.0, 1.0))),
        ]
        units = [f"u{n}" for n in range(60)]
        for name in ("buttons", "banners", "prices"):
            for unit in units:
                get_variant(tx, name, unit)
        assert _layer_checks(tx, ids) == ["passed", "passed", "passed"]
        chosen = explain_variant(tx, "buttons", "u1")
        set_override(tx, "buttons" if chosen.variant is None else "banners", "u1", "red", "a", "b")
        get_variant(tx, "buttons", "u1")
        get_variant(tx, "banners", "u1")
        assert _layer_checks(tx, ids) == ["passed", "passed", "passed"]
        # The two change places: who comes from now on is of the other one.
        tx.execute(
            text(
                "UPDATE layer_slot SET lower_bound = 0.5 - lower_bound, "
                "upper_bound = 1.5 - upper_bound WHERE layer = 'pages'"
            )
        )
        for name in ("buttons", "banners"):
            for unit in units:
                get_variant(tx, name, unit)
        assert _layer_checks(tx, ids) == ["failed", "failed", "passed"]
        found = {check.name: check for check in gather(tx, ids)[ids[0]]}["layer"]
        assert found.figures == {"shared_units": 59, "experiments": 1}
        assert "59 units are also in other experiments of layer 'pages'" in found.message
        end = "UPDATE ab_experiments SET status = 'completed' WHERE experiment_name = 'banners'"
        tx.execute(text(end))
        assert _layer_checks(tx, ids)[0] == "passed"


def _layer_checks(tx: Connection, ids: list[UUID]) -> list[str]:
    found = gather(tx, ids)
    return [next(c.outcome for c in found[each] if c.name == "layer") for each in ids]
