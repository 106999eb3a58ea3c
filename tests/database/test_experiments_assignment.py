"""Who gets which arm: SQL, Python and the batch give one answer, and it stands."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.errors import NotFound
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.assignment.assigning import explain_variant, get_variant
from tasks.experiments.assignment.overrides import remove_override, set_override
from tasks.experiments.assignment.targeting import TargetRule, matches
from tests.database.experiments import start

ODD_UNITS = ["7", "007", " ", "a:b", "Zoë", "Zoe\u0308", "用户-7", "👩‍👩‍👧", "x" * 255, "%s:;'\""]
ROW = text("SELECT * FROM ab_assignments WHERE user_id = :unit")
ALL_ROWS = text(
    "SELECT a.*, v.variant_name FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id"
)
in_database = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def split(**weights: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "weight": weight, "is_control": number == 0}
        for number, (name, weight) in enumerate(weights.items())
    ]


def ask(tx: Connection, units: Sequence[str], **given: Any) -> dict[str, str | None]:
    return {unit: get_variant(tx, "buttons", unit, **given) for unit in units}


def test_sql_gives_what_python_says_it_will(database: Engine) -> None:
    start(
        variants=split(control=0.25, red=0.0, blue=0.45, aqua=0.3),
        traffic_fraction=0.8,
        target_rules=[{"attribute": "plan", "op": "in", "value": ["pro", "team"]}],
    )
    with database.begin() as tx:
        set_override(tx, "buttons", "u3", "red", None, None)
        seen = set()
        for number, unit in enumerate([*ODD_UNITS, *(f"u{n}" for n in range(150))]):
            attributes = {"plan": "pro"} if number % 5 else {"plan": "free"}
            choice = explain_variant(tx, "buttons", unit, attributes)
            given_arm = get_variant(tx, "buttons", unit, attributes=attributes)
            assert given_arm == choice.variant
            row = tx.execute(ROW, {"unit": unit}).one_or_none()
            assert (row is None) == (choice.variant is None)
            if row is not None:
                assert row.bucket_value == choice.bucket
                assert (row.epoch, row.is_override) == (1, choice.why == "override")
            seen.add((choice.why, choice.variant))
    assert seen == {
        ("allocated", "control"),
        ("allocated", "blue"),
        ("allocated", "aqua"),
        ("outside-traffic", None),
        ("not-targeted", None),
        ("override", "red"),
    }


def test_what_the_first_request_brings_is_stored(database: Engine) -> None:
    start()
    with database.begin() as tx:
        get_variant(tx, "buttons", "ann", session="s1", metadata={"device": "phone"})
        get_variant(tx, "buttons", "ann", session="s2", metadata={"device": "desk"})
        row = tx.execute(ROW, {"unit": "ann"}).one()
        assert (row.session_id, row.metadata) == ("s1", {"device": "phone"})
        assert tx.scalars(text("SELECT assignment_id FROM touched_unit")).all() == [row.id]


def test_an_arm_stands_whatever_changes(database: Engine) -> None:
    experiment = UUID(start(target_rules=[{"attribute": "country", "op": "eq", "value": "DE"}]))
    units = [f"u{n}" for n in range(40)]
    with database.begin() as tx:
        first = ask(tx, units, attributes={"country": "DE"})
        reallocate(tx, experiment, {"control": 0.0, "red": 1.0}, "ada", "more red")
        tx.execute(text("UPDATE experiment_plan SET traffic_fraction = 0.001"))
        assert ask(tx, units) == first  # no attributes: not targeted any more
        tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
        assert ask(tx, units) == first
        assert get_variant(tx, "buttons", "late", attributes={"country": "DE"}) is None
    assert set(first.values()) == {"control", "red"}


def test_two_first_requests_at_once_give_one_arm(database: Engine) -> None:
    start()
    barrier = threading.Barrier(4)

    def request(_: int) -> list[str | None]:
        answers = []
        for number in range(10):
            barrier.wait(10)
            with database.begin() as tx:
                answers.append(get_variant(tx, "buttons", f"u{number}"))
        return answers

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(request, range(4)))
    assert answers[0] == answers[1] == answers[2] == answers[3]
    with database.connect() as connection:
        rows = connection.execute(ALL_ROWS).all()
        touched = connection.scalar(text("SELECT count(DISTINCT assignment_id) FROM touched_unit"))
    assert len(rows) == touched == 10
    assert {row.user_id: row.variant_name for row in rows} == {
        f"u{n}": arm for n, arm in enumerate(answers[0])
    }


scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(10**15, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "Zoë", "Zo", "2026-01-01", "\uffff", "😀", "用户"]),
)
attributes = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), scalars, st.lists(scalars, max_size=2), st.just({"x": 1})),
)
ordered = scalars.filter(lambda value: not isinstance(value, bool))
rules = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["eq", "ne"]), scalars),
        st.tuples(st.sampled_from(["in", "not_in"]), st.lists(scalars, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["gt", "ge", "lt", "le"]), ordered),
        st.tuples(st.just("starts_with"), st.sampled_from(["", "Z", "Zo", "用"])),
        st.tuples(st.just("exists"), st.none()),
    ),
    min_size=1,
    max_size=2,
)


@in_database
@given(asked=rules, held=attributes)
def test_sql_and_python_target_the_same_units(
    database: Engine, asked: list[tuple[str, Any]], held: dict[str, Any]
) -> None:
    made = [
        TargetRule.model_validate({"attribute": "a", "op": op, "value": value})
        for op, value in asked
    ]
    with database.connect() as connection:
        found = connection.scalar(
            text("SELECT matches_target(CAST(:rules AS jsonb), CAST(:held AS jsonb))"),
            {
                "rules": json.dumps([rule.model_dump(mode="json") for rule in made]),
                "held": json.dumps(held),
            },
        )
    assert found is matches(made, held)


def test_a_rule_that_sql_does_not_know_targets_nobody(database: Engine) -> None:
    query = text("SELECT matches_target(CAST(:rules AS jsonb), '{\"a\": 1}')")
    with database.connect() as connection:
        for rule in ({"attribute": "a", "op": "like", "value": 1}, {"attribute": "a"}, {}):
            assert connection.scalar(query, {"rules": json.dumps([rule])}) is False


def test_names_that_do_not_exist_are_refused(database: Engine) -> None:
    start()
    with database.begin() as tx:
        for refused in (
            lambda: get_variant(tx, "nothing", "u"),
            lambda: explain_variant(tx, "nothing", "u"),
            lambda: set_override(tx, "nothing", "u", "red", None, None),
            lambda: remove_override(tx, "nothing", "u"),
        ):
            with pytest.raises(NotFound, match="no experiment is called 'nothing'"):
                refused()
        with pytest.raises(NotFound, match="no variant 'green'; it has control, red"):
            set_override(tx, "buttons", "u", "green", None, None)


@pytest.mark.parametrize(
    "arguments", ["'buttons', NULL", "'buttons', ''", "'buttons', repeat('x', 256)"]
)
def test_sql_refuses_what_is_no_unit(database: Engine, arguments: str) -> None:
    start()
    with pytest.raises(DBAPIError, match="a unit is text of 1 to 255"), database.begin() as tx:
        tx.execute(text(f"SELECT assign_variant({arguments})"))


def test_sql_refuses_metadata_that_is_no_object(database: Engine) -> None:
    start()
    with pytest.raises(DBAPIError, match="metadata is a JSON object"), database.begin() as tx:
        tx.execute(text("SELECT assign_variant('buttons', 'u', metadata => '[1]')"))
