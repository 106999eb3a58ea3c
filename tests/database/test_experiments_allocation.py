"""The split of the traffic: its ranges, its epochs, and how it changes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from tasks.bucketing import bucket
from tasks.database import create_engine
from tasks.errors import InputError, NotFound, Refused
from tasks.experiments.assignment.allocation import open_first_epoch, reallocate
from tasks.experiments.assignment.assigning import explain_variant, get_variant
from tasks.experiments.assignment.ranges import first_ranges
from tasks.experiments.definition import creating
from tasks.migrations.validation import alembic_config
from tests.database.experiments import plan, start

ALL_ROWS = text(
    "SELECT a.*, v.variant_name FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id"
)
in_database = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def ask(tx: Connection, units: Sequence[str], **given: Any) -> dict[str, str | None]:
    return {unit: get_variant(tx, "buttons", unit, **given) for unit in units}


def split(**weights: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "weight": weight, "is_control": number == 0}
        for number, (name, weight) in enumerate(weights.items())
    ]


def test_a_new_split_is_an_epoch_and_only_new_units_see_it(database: Engine) -> None:
    experiment = UUID(start(variants=split(control=0.5, red=0.25, blue=0.25)))
    with database.begin() as tx:
        before = ask(tx, [f"u{n}" for n in range(60)])
        will = {f"n{n}": explain_variant(tx, "buttons", f"n{n}").variant for n in range(200)}
        weights = {"control": 0.75, "red": 0.25, "blue": -0.0}
        assert reallocate(tx, experiment, weights, "ada", "no blue") == 2
        assert reallocate(tx, experiment, weights, "ada", "again") == 2
        after = ask(tx, list(will))
        assert ask(tx, list(before)) == before
        assert "blue" not in after.values()
        # What is no longer blue is control's; nobody else moves.
        assert all(after[u] == ("control" if will[u] == "blue" else will[u]) for u in will)
        epochs = {row.user_id: row.epoch for row in tx.execute(ALL_ROWS)}
        assert {epochs[u] for u in before} == {1}
        assert {epochs[u] for u in after} == {2}
        shown = tx.execute(
            text("SELECT variant_name, traffic_weight FROM ab_variants ORDER BY variant_name")
        )
        stored = text("SELECT default_traffic_split FROM ab_experiments")
        expected = {"blue": 0.0, "control": 0.75, "red": 0.25}
        assert dict(tuple(row) for row in shown) == tx.scalar(stored) == expected
        log = tx.execute(
            text(
                "SELECT a.epoch, a.actor, sum(w.weight), count(*) FROM allocation a "
                "JOIN allocation_weight w USING (experiment_id, epoch) "
                "GROUP BY a.epoch, a.actor ORDER BY a.epoch"
            )
        ).all()
        assert [tuple(row)[:1] + tuple(row)[2:] for row in log] == [(1, 1.0, 3), (2, 1.0, 3)]
        assert log[1].actor == "ada"


def test_two_changes_of_a_split_at_once_are_two_epochs(database: Engine) -> None:
    experiment = UUID(start())

    def change(red: float) -> int:
        with database.begin() as tx:
            return reallocate(tx, experiment, {"control": 1 - red, "red": red}, None, None)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, [0.1, 0.2, 0.3, 0.4])) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"control": 1.0}, "missing: red, unknown: none"),
        ({"control": 0.5, "red": 0.25, "blue": 0.25}, "missing: none, unknown: blue"),
        ({"control": 0.5, "red": 0.4}, "add up to 1"),
        ({"control": 1.5, "red": -0.5}, "between 0 and 1"),
        ({"control": float("nan"), "red": 1.0}, "between 0 and 1"),
    ],
)
def test_weights_that_are_no_split_of_the_arms_are_refused(
    database: Engine, weights: dict[str, float], message: str
) -> None:
    experiment = UUID(start())
    with database.begin() as tx, pytest.raises(InputError, match=message):
        reallocate(tx, experiment, weights, None, None)


@pytest.mark.parametrize(("status", "code"), [("draft", "draft"), ("completed", "over")])
def test_a_split_changes_only_between_start_and_end(
    database: Engine, status: str, code: str
) -> None:
    with database.begin() as tx:
        creating.insert(tx, plan(), "ada")
        experiment = tx.execute(text("SELECT id FROM ab_experiments")).scalar_one()
        tx.execute(text("UPDATE ab_experiments SET status = :s"), {"s": status})
        with pytest.raises(Refused) as refusal:
            reallocate(tx, experiment, {"control": 0.9, "red": 0.1}, None, None)
        assert [reason.code for reason in refusal.value.reasons] == [code]
        with pytest.raises(NotFound):
            reallocate(tx, UUID(int=0), {}, None, None)


arms = st.lists(
    st.one_of(st.just(0.0), st.just(-0.0), st.floats(1e-12, 1)), min_size=1, max_size=6
).filter(any)


@in_database
@given(weights=arms)
def test_sql_opens_the_ranges_that_python_computes(database: Engine, weights: list[float]) -> None:
    named = sorted((f"ä{number}", weight) for number, weight in enumerate(weights))
    with database.connect() as tx:
        made = text("INSERT INTO ab_experiments (experiment_name) VALUES ('e') RETURNING id")
        experiment = tx.scalar(made)
        for name, weight in named:
            tx.execute(
                text(
                    "INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight) "
                    "VALUES (:e, :n, :w)"
                ),
                {"e": experiment, "n": name, "w": weight},
            )
        open_first_epoch(tx, experiment, None, None)
        found = tx.execute(
            text(
                "SELECT lower_bound, variant_name FROM allocation_range r "
                "JOIN ab_variants v ON v.id = r.variant_id ORDER BY 1"
            )
        )
        assert [tuple(row) for row in found] == [tuple(each) for each in first_ranges(named)]


def test_an_experiment_made_active_by_hand_opens_its_split_at_the_first_request(
    database: Engine,
) -> None:
    start()
    with database.begin() as tx:
        tx.execute(text("DELETE FROM allocation"))
        units = [f"u{n}" for n in range(20)]
        said = {unit: explain_variant(tx, "buttons", unit).variant for unit in units}
        assert ask(tx, units) == said
        assert tx.scalar(text("SELECT count(*) FROM allocation_weight")) == 2


def test_an_experiment_of_an_earlier_schema_gets_the_split_that_has_held(
    bootstrapped_database: Engine,
) -> None:
    engine = bootstrapped_database
    _upgrade(engine, "005")
    with engine.begin() as tx:
        tx.execute(
            text(
                "WITH e AS (INSERT INTO ab_experiments (experiment_name, status) "
                "VALUES ('buttons', 'active') RETURNING id) "
                "INSERT INTO ab_variants (experiment_id, variant_name, traffic_weight, is_control) "
                "SELECT e.id, v.name, v.weight, v.name = 'control' FROM e, "
                "(VALUES ('control', 0.5), ('red', 0.5)) v (name, weight)"
            )
        )
        old = {
            f"u{n}": tx.scalar(text("SELECT assign_variant('buttons', :u)"), {"u": f"u{n}"})
            for n in range(20)
        }
    _upgrade(engine, "head")
    with engine.begin() as tx:
        assert ask(tx, list(old)) == old
        tx.execute(text("DELETE FROM ab_assignments"))
        assert ask(tx, list(old)) == old
        assert {row.epoch for row in tx.execute(ALL_ROWS)} == {1}


def _upgrade(engine: Engine, revision: str) -> None:
    with engine.connect() as connection:
        command.upgrade(alembic_config.load(connection), revision)
        connection.commit()


def test_a_database_in_another_encoding_has_the_same_buckets(server_url: str) -> None:
    name = f"latin_{uuid4().hex[:12]}"
    server = create_engine(server_url)
    try:
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
            admin.execute(
                text(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
            )
            engine = create_engine(server.url.set(database=name).render_as_string(False))
            try:
                _upgrade(engine, "head")
                with engine.connect() as connection:
                    found = connection.scalar(text("SELECT bucket('sälz', 'Zoë')"))
            finally:
                engine.dispose()
                admin.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        server.dispose()
    assert found == bucket("sälz", "Zoë")
