"""What a plan may hold, Postgres can; who changes it at once; with whose rights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from tasks.errors import InputError, Refused
from tasks.experiments import steps
from tasks.experiments.definition import creating
from tasks.experiments.definition.changing import change
from tasks.experiments.definition.editing import ExperimentEdit, differences
from tasks.experiments.definition.files import as_plan
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.reading import read_experiment
from tests.database.experiments import new_run, plan, start
from tests.database.test_experiments_definition import EVERYTHING, act, codes
from tests.rows import rows_of
from tests.unit.definitions import SOUND, Case, batches, mutated

WRITER, READER = text("SET LOCAL ROLE headway_writer"), text("SET LOCAL ROLE headway_reader")


def test_a_fuzzed_plan_that_is_accepted_is_stored_and_comes_back(database: Engine) -> None:
    stored: list[str] = []
    start(name="parent")

    @settings(
        max_examples=20,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(batches)
    @example([(sort, []) for sort in SOUND])
    def store(batch: list[Case]) -> None:
        with database.connect() as tx:
            for each in batch:
                try:
                    planned = as_plan(mutated(each), "the file")
                except InputError:
                    continue
                if planned.segment_of not in {None, "parent"}:
                    continue
                with tx.begin_nested() as undone:
                    assert creating.insert(tx, planned, "ada") is not None
                    assert differences(read_experiment(tx, planned.name).plan, planned) == ()
                    undone.rollback()
                stored.append(each[0])

    store()
    assert len(stored) > 40
    assert set(stored) == set(SOUND)


def test_of_two_edits_of_the_same_version_one_is_refused(database: Engine) -> None:
    start()

    def describe(words: str) -> str:
        with new_run():
            try:
                edit = ExperimentEdit(description=words)
                steps.change_experiment("buttons", "edit", edit=edit, version=1)
            except Refused as refusal:
                return refusal.reasons[0].code
            return "done"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(describe, ["first", "second"]))
    assert sorted(outcomes) == ["done", "stale-version"]
    kept = "SELECT version FROM experiment_plan"
    assert rows_of(database, kept) == [(2,)]


def test_two_creations_of_the_same_plan_make_one_experiment(database: Engine) -> None:
    def create(_: int) -> bool:
        with new_run():
            return steps.create_experiment(plan=plan(), is_started=True).is_new

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(create, range(2))) == [False, True]
    assert rows_of(database, "SELECT count(*) FROM allocation") == [(1,)]


def test_the_writer_may_do_all_that_a_definition_needs(database: Engine) -> None:
    planned = ExperimentPlan.model_validate(EVERYTHING)
    with database.begin() as tx:
        tx.execute(WRITER)
        creating.insert(tx, planned, "ada")
        other = planned.model_copy(
            update={
                "metric": planned.metric.model_copy(
                    update={"kind": "mean"}
                    | {"denominator_event_type": None, "denominator_aggregation": None}
                )
            }
        )
        assert change(tx, "greeting", "edit", ExperimentEdit(plan=other)).version == 2
        assert change(tx, "greeting", "start").status == "active"
        split = ExperimentEdit(weights={"cool": 0.5, "warm": 0.5}, labels={"warm": "W"})
        change(tx, "greeting", "edit", split)
        assert change(tx, "greeting", "complete").status == "completed"
        creating.insert(
            tx, planned.model_copy(update={"name": "draft", "metric": other.metric}), "ada"
        )
        assert change(tx, "draft", "delete").status is None


def test_a_reader_may_look_and_change_nothing(database: Engine) -> None:
    start()
    with database.begin() as tx:
        tx.execute(READER)
        assert read_experiment(tx, "buttons").status == "active"
        with pytest.raises(ProgrammingError, match="permission denied"):
            change(tx, "buttons", "pause")


def test_only_a_draft_that_nobody_took_part_in_is_deleted(database: Engine) -> None:
    start(name="started")
    with new_run():
        steps.create_experiment(plan=plan())
        steps.create_experiment(plan=plan(name="loaded"))
    with database.begin() as tx:
        tx.execute(text(_TAKES_PART))
    assert act("buttons", "delete").status is None
    for name, code in (("started", "not-a-draft"), ("loaded", "has-data")):
        with pytest.raises(Refused) as refusal:
            act(name, "delete")
        assert codes(refusal) == {code}
    names = "SELECT experiment_name FROM ab_experiments ORDER BY 1"
    assert rows_of(database, names) == [("loaded",), ("started",)]


def test_the_database_itself_keeps_what_has_started_from_the_writer(database: Engine) -> None:
    start()
    with new_run():
        steps.create_experiment(plan=plan(name="draft"))
    gone = "DELETE FROM ab_experiments WHERE experiment_name = :name"
    with database.begin() as tx:
        tx.execute(WRITER)
        tx.execute(text(gone), {"name": "draft"})
    for attack, refusal in (
        ("DELETE FROM ab_experiments", "only a draft may be deleted"),
        ("DELETE FROM ab_variants WHERE NOT is_control", "its experiment is active"),
        ("UPDATE ab_experiments SET status = 'draft'", "never a draft again"),
    ):
        with database.connect() as tx:
            tx.execute(WRITER)
            with pytest.raises(DBAPIError, match=refusal):
                tx.execute(text(attack))
    assert rows_of(database, "SELECT count(*) FROM allocation_weight") == [(2,)]


def test_a_draft_that_units_were_assigned_to_keeps_its_arms_but_not_its_words(
    database: Engine,
) -> None:
    with new_run():
        steps.create_experiment(plan=plan(name="loaded"))
    with database.begin() as tx:
        tx.execute(text(_TAKES_PART))
    act("loaded", "edit", labels={"red": "Red"}, description="d", minimum_sample_size=5)
    with pytest.raises(Refused) as refusal:
        act("loaded", "edit", weights={"control": 0.2, "red": 0.8})
    assert codes(refusal) == {"has-data"}


_TAKES_PART = """
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, bucket_value)
SELECT experiment_id, v.id, 'u1', 0.5 FROM ab_variants v
JOIN ab_experiments e ON e.id = v.experiment_id
WHERE experiment_name = 'loaded' AND is_control
"""
