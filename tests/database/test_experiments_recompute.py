"""Folding beside loading, and the proof that nothing was missed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, text

from flows.pipeline import run_by_ledger
from flows.recompute import recompute_statistics
from tasks.errors import ItemsFailed, NotFound
from tasks.experiments import steps
from tasks.experiments.folding.folding import fold
from tasks.experiments.folding.recomputing import recompute
from tests.database.experiments import new_run
from tests.database.folding import World

ARM = ("control", "", "")


@pytest.fixture
def world(database: Engine) -> Iterator[World]:
    """A world that is committed, and a transaction of its own to look at it."""
    with database.begin() as tx:
        made = World(tx)
        made.metric(missing="zero")
        for number in range(8):
            made.unit(f"u{number}", ("control", "red")[number % 2])
            made.event(f"u{number}", float(number))
    with database.connect() as tx:
        made.tx = tx
        yield made


def _fold(engine: Engine, world: World) -> None:
    with engine.begin() as tx:
        fold(tx, [world.id])


def test_what_is_loaded_while_a_fold_runs_is_folded_by_the_next(
    database: Engine, world: World
) -> None:
    _fold(database, world)
    with database.connect() as folding, folding.begin():
        fold(folding, [world.id])
        with database.begin() as loading:
            world.tx = loading
            world.event("u0", 100.0)
        assert fold(folding, [world.id])[0].units == 1
    with database.connect() as world.tx:
        assert world.moments()[ARM]["mean"] == (100 + 2 + 4 + 6) / 4


def test_an_event_that_is_not_committed_is_not_lost(database: Engine, world: World) -> None:
    with database.connect() as loading:
        with loading.begin():
            world.tx = loading
            world.event("u0", 100.0)
            _fold(database, world)
            _fold(database, world)
        with loading.begin():
            assert world.moments()[ARM]["mean"] == 3.0
    _fold(database, world)
    with database.connect() as world.tx:
        assert world.moments()[ARM]["mean"] == (100 + 2 + 4 + 6) / 4


def test_two_folds_and_many_loads_at_once_count_everything_once(
    database: Engine, world: World
) -> None:
    together = Barrier(4)

    def load(first: int) -> None:
        together.wait(10)
        for number in range(10):
            with database.begin() as tx:
                mine = World.__new__(World)
                mine.__dict__.update(world.__dict__, tx=tx)
                mine.event(f"u{(first + number) % 8}", 1.0)

    def keep_folding() -> None:
        together.wait(10)
        for _ in range(5):
            _fold(database, world)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(load, 0), pool.submit(load, 4)]
        work += [pool.submit(keep_folding), pool.submit(keep_folding)]
        for each in work:
            each.result(60)
    with database.begin() as tx:
        assert recompute(tx, [world.id]) == []
    with database.connect() as world.tx:
        total = sum(row["n"] * row["mean"] for key, row in world.moments().items() if not key[1])
        assert total == pytest.approx(sum(range(8)) + 20)


def test_a_recompute_beside_loads_reports_nothing_that_is_only_late(
    database: Engine, world: World
) -> None:
    _fold(database, world)
    with database.connect() as tx, tx.begin():
        fold(tx, [world.id])
        with database.begin() as loading:
            world.tx = loading
            world.event("u0", 100.0)
        # The fold inside takes the log first; what is committed after that is looked past.
        assert recompute(tx, [world.id]) == []


@pytest.mark.parametrize(
    ("fault", "statistic"),
    [
        ("UPDATE moment_statistic SET m2 = m2 * (1 + 1e-6) WHERE dimension = ''", "m2"),
        ("UPDATE ab_metrics SET event_value = event_value + 1", "mean"),
        ("DELETE FROM unit_value", ""),
        pytest.param(
            "INSERT INTO moment_statistic SELECT experiment_id, metric_id, variant_id, 'epoch', "
            "'9', 7, 0, 0, 0, 0, 0 FROM moment_statistic WHERE dimension = ''",
            "assigned",
        ),
    ],
    ids=["moments", "unlogged", "values", "cells"],
)
def test_a_fault_is_found_named_and_mended(
    database: Engine, world: World, fault: str, statistic: str
) -> None:
    _fold(database, world)
    with database.begin() as tx:
        tx.execute(text(fault))
    with new_run():
        if statistic:
            with pytest.raises(ItemsFailed, match=f"buttons, spend: {statistic} of control"):
                run_by_ledger(recompute_statistics, {})
        else:
            run_by_ledger(recompute_statistics, {})
    with database.begin() as tx:
        assert tx.scalar(text("SELECT count(*) FROM unit_value")) == 8
        assert recompute(tx, [world.id]) == []
        gap = tx.scalar(text("SELECT recomputed_gap FROM fold_state"))
        assert gap is not None
        assert gap < 1e-12


def test_the_nightly_run_names_an_experiment_that_cannot_be_recomputed(
    database: Engine, world: World
) -> None:
    with database.begin() as tx:
        other = World(tx, name="colours")
        other.metric("clicks")
        other.unit("ann")
        other.event("ann", 1.0)
        tx.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no'; END $$"
            )
        )
        tx.execute(
            text(
                "CREATE TRIGGER fail BEFORE INSERT ON fold_state FOR EACH ROW "
                f"WHEN (NEW.experiment_id = '{other.id}') EXECUTE FUNCTION fail()"
            )
        )
    with pytest.raises(ItemsFailed, match=r"^1 statistics failed: colours: "):
        run_by_ledger(recompute_statistics, {})
    assert world.moments()[ARM]["n"] == 4
    right = run_by_ledger(recompute_statistics, {"experiment": "buttons"})
    assert right.summary == "1 experiment recomputed from the raw events: 0 differences"
    with pytest.raises(NotFound, match="no experiment called 'shapes'"):
        run_by_ledger(recompute_statistics, {"experiment": "shapes"})


def test_a_batch_of_experiments_is_folded_by_as_many_statements_as_one(database: Engine) -> None:
    with database.begin() as tx:
        worlds = []
        for number in range(12):
            made = World(tx, name=f"e{number}")
            made.metric(f"m{number}", missing="zero")
            made.unit("ann")
            made.event("ann", float(number))
            worlds.append(made)
    with new_run():
        summaries = steps.fold_statistics(experiment_ids=[made.id for made in worlds])
    assert len(summaries) == 12
    with database.connect() as tx:
        for number, made in enumerate(worlds):
            made.tx = tx
            assert made.moments(f"m{number}")[ARM]["mean"] == number
