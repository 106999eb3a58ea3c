from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tasks import clock
from tasks.database import control_engine
from tasks.decisions import replay
from tasks.errors import NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.analysis.reading import latest_result
from tasks.experiments.definition import creating
from tasks.experiments.quality.model import SuiteFindings
from tasks.rules import load_rules
from tests.database.experiments import (
    PASSED,
    arms,
    event,
    fold_now,
    load,
    look,
    metric,
    new_run,
    plan,
    start,
)
from tests.rows import rows_of

LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
VERSIONED = [
    {"name": "control", "weight": 0.5, "is_control": True},
    {"name": "red", "weight": 0.5, "model_version": "v2"},
]
STANDS = "SELECT status::text, winner_variant FROM ab_experiments"
DECISIONS = "SELECT rule, verdict FROM headway.decision WHERE rule LIKE 'winner%' ORDER BY id"


def _select(variant: str | None = None, *, is_forced: bool = False) -> Any:
    with new_run():
        return steps.select_winner(experiment="buttons", variant=variant, is_forced=is_forced)


# Policies ---------------------------------------------------------------------------------------


def test_a_recommended_winner_is_left_to_a_person(database: Engine, tmp_path: Path) -> None:
    experiment = start(policy="recommend")
    load(tmp_path, arms(LOW, HIGH))
    analysis = look(experiment)
    assert (analysis.winner, analysis.is_over) == ("red", False)
    assert rows_of(database, STANDS) == [("active", None)]
    chosen = _select()
    assert (chosen.winner, chosen.is_forced) == ("red", False)
    assert rows_of(database, STANDS) == [("completed", "red")]


def test_a_winner_to_roll_out_leaves_its_wish_and_nothing_more(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(policy="roll_out", variants=VERSIONED)
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    assert rows_of(database, STANDS) == [("completed", "red")]
    assert rows_of(database, DECISIONS) == [("winner-rollout", "roll-out")]
    assert rows_of(database, "SELECT count(*) FROM rollout") == [(0,)]
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()


def test_a_winner_that_comes_back_is_wished_for_once(database: Engine, tmp_path: Path) -> None:
    experiment = start(policy="roll_out", variants=VERSIONED, is_stopped_at_winner=False)
    load(tmp_path, arms(LOW[:50], HIGH[:50]))
    assert look(experiment).winner == "red"
    load(tmp_path, [event("red-0", -9_000, "e-bad")], name="bad")
    assert look(experiment).winner is None
    load(tmp_path, [event("red-0", 10, "e-bad")], name="good")
    assert look(experiment).winner == "red"
    assert rows_of(database, DECISIONS) == [("winner-rollout", "roll-out")]
    _select("red")
    assert rows_of(database, DECISIONS) == [
        ("winner-rollout", "roll-out"),
        ("winner-selection", "selected"),
    ]


# By hand ----------------------------------------------------------------------------------------


def test_a_winner_is_not_chosen_where_no_look_names_one(database: Engine, tmp_path: Path) -> None:
    experiment = start()
    with pytest.raises(Refused, match=r"\[not-analysed\]"):
        _select("red")
    load(tmp_path, arms(LOW, LOW))
    look(experiment)
    with pytest.raises(Refused, match=r"\[no-winner\].*red is nearest.*--variant VARIANT --force"):
        _select()
    assert rows_of(database, STANDS) == [("active", None)]


def test_a_forced_winner_is_kept_with_what_spoke_against_it(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, LOW))
    look(experiment)
    chosen = _select("red", is_forced=True)
    assert chosen.is_forced
    assert rows_of(database, STANDS) == [("completed", "red")]
    (row,) = rows_of(
        database,
        "SELECT reasons -> 0 ->> 'code', details ->> 'is_forced' FROM headway.decision "
        "WHERE rule = 'winner-selection'",
    )
    assert row == ("no-winner", "true")
    again = _select("red", is_forced=True)
    assert again.is_noop


@pytest.mark.parametrize(
    ("status", "variant", "code"),
    [
        ("active", "blue", "unknown-variant"),
        ("draft", "red", "is-draft"),
        ("archived", "red", "is-archived"),
    ],
)
def test_what_cannot_be_chosen_is_refused_even_if_it_is_forced(
    database: Engine, status: str, variant: str, code: str
) -> None:
    with database.begin() as connection:
        creating.insert(connection, plan(), "ada")
        connection.execute(
            text("UPDATE ab_experiments SET status = CAST(:s AS experiment_status)"), {"s": status}
        )
    with pytest.raises(Refused, match=rf"\[{code}\]"):
        _select(variant, is_forced=True)


def test_another_winner_than_the_decided_one_has_to_be_forced(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    with pytest.raises(Refused, match=r"\[not-the-winner\] its last look names red, not control"):
        _select("control")
    assert _select().is_noop
    assert _select("control", is_forced=True).winner == "control"
    assert rows_of(database, STANDS) == [("completed", "control")]
    with new_run(), pytest.raises(NotFound, match="no experiment is called 'nothing'"):
        steps.select_winner(experiment="nothing")


# Batches ----------------------------------------------------------------------------------------


def _three(tmp_path: Path) -> list[str]:
    names = ("first", "second", "third")
    ids = [start(name=name, is_stopped_at_winner=False) for name in names]
    load(tmp_path, [row | {"experiment": name} for name in names for row in arms(LOW, HIGH)])
    for each in ids:
        fold_now(each)
    return ids


def test_many_experiments_take_no_more_statements_than_one(
    database: Engine, tmp_path: Path
) -> None:
    ids = _three(tmp_path)
    with new_run():
        analyses = steps.analyze_batch(experiment_ids=ids, suites=PASSED)
    assert [(each.experiment, each.winner) for each in analyses] == [
        (name, "red") for name in sorted(("first", "second", "third"), key=_place(analyses))
    ]
    assert rows_of(
        database, "SELECT count(*), count(DISTINCT decision_id) FROM variant_metric"
    ) == [(6, 3)]
    with new_run():
        again = steps.analyze_batch(experiment_ids=ids, suites=PASSED)
    assert {each.message for each in again} == {"nothing is new since its last look"}
    load_rules()
    with database.connect() as connection:
        report = replay(connection)
    assert report.differences == ()


def _place(analyses: list[Any]) -> Any:
    return [each.experiment for each in analyses].index


def test_a_broken_rule_closes_the_gate_of_its_own_experiment_only(
    database: Engine, tmp_path: Path
) -> None:
    ids = _three(tmp_path)
    suites = SuiteFindings(failed_in={ids[1]: ("ab_metrics: a value is a finite number",)})
    with new_run():
        analyses = steps.analyze_batch(experiment_ids=ids, suites=suites)
    assert {each.experiment: each.winner for each in analyses} == {
        "first": "red",
        "second": None,
        "third": "red",
    }


def test_an_experiment_that_cannot_be_looked_at_leaves_no_trace_of_its_batch(
    database: Engine, tmp_path: Path
) -> None:
    ids = _three(tmp_path)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE ab_variants SET is_control = false WHERE experiment_id = :id"),
            {"id": ids[1]},
        )
    with new_run(), pytest.raises(Exception, match="'second' has no control variant"):
        steps.analyze_batch(experiment_ids=ids, suites=PASSED)
    assert rows_of(database, "SELECT count(*) FROM variant_metric") == [(0,)]


# Metrics beside the primary one -----------------------------------------------------------------


def _visit(user: str, number: int) -> dict[str, Any]:
    at = f"2026-01-02T00:00:{number + 1:02d}Z"
    return event(user, 1.0, f"v-{user}-{number}", event_type="visit", event_timestamp=at)


def test_guardrails_and_secondary_metrics_are_recorded_beside_the_primary_one(
    database: Engine, tmp_path: Path
) -> None:
    visits = metric(name="visits", kind="count", event_type="visit", aggregation="count")
    experiment = start(
        guardrails=[visits | {"missing": "zero", "margin": 0.3}],
        secondary_metrics=[
            metric(
                name="price",
                kind="ratio",
                denominator_event_type="visit",
                denominator_aggregation="count",
            ),
            metric(name="typical", kind="quantile", quantile=0.5),
        ],
    )
    rows = arms(LOW, HIGH)
    rows += [
        _visit(f"{name}-{number}", visit)
        for name in ("control", "red")
        for number in range(100)
        for visit in range(1 + number % 3)
    ]
    load(tmp_path, rows)
    analysis = look(experiment)
    assert analysis.winner == "red"
    assert analysis.verdict is not None
    measured = {each["name"]: each for each in analysis.verdict.details["metrics"]}
    assert measured["visits"]["arms"][0]["outcome"] == "safe"
    assert measured["typical"]["arms"][0]["difference"] == pytest.approx(3.0)
    views = sum(1 + number % 3 for number in range(100))
    assert measured["price"]["control"]["value"] == pytest.approx(sum(LOW) / views)
    assert rows_of(
        database,
        "SELECT count(*), count(DISTINCT metric_id), count(DISTINCT inputs_hash) "
        "FROM variant_metric",
    ) == [(8, 4, 1)]


def test_a_guardrail_that_fails_blocks_the_winner(database: Engine, tmp_path: Path) -> None:
    visits = metric(name="visits", kind="count", event_type="visit", aggregation="count")
    experiment = start(guardrails=[visits | {"missing": "zero", "margin": 0.05}])
    rows = arms(LOW, HIGH) + [
        _visit(f"{name}-{number}", visit)
        for name, most in (("control", 6), ("red", 2))
        for number in range(100)
        for visit in range(1 + number % most)
    ]
    load(tmp_path, rows)
    analysis = look(experiment)
    assert (analysis.winner, analysis.is_over) == (None, False)
    assert analysis.message.startswith("red is significantly better, but its visits is worse")


# The calendar, the result -----------------------------------------------------------------------


def test_nothing_is_decided_before_the_minimum_weeks_and_then_without_new_data(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(minimum_weeks=1)
    load(tmp_path, arms(LOW, HIGH))
    early = look(experiment)
    assert early.message.startswith("0 full weeks have passed")
    assert look(experiment).is_skipped
    with control_engine().begin() as tx:
        clock.shift(tx, timedelta(days=7, hours=1))
    load(tmp_path, [event("red-0", 1.0, "late")], name="more")
    with control_engine().begin() as tx:
        tx.execute(text("UPDATE ab_metrics SET created_at = headway.clock_now()"))
    later = look(experiment)
    assert (later.winner, later.verdict and later.verdict.details["look_number"]) == ("red", 2)


def test_the_result_can_be_read_in_the_shape_that_applications_know(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start()
    with database.connect() as connection:
        with pytest.raises(NotFound, match="not been analysed"):
            latest_result(connection, "buttons")
        with pytest.raises(NotFound, match="no experiment"):
            latest_result(connection, "nothing")
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    with database.connect() as connection:
        result = latest_result(connection, "buttons")
    assert (result["experimentId"], result["winner"]) == (experiment, "red")
    assert [row["users"] for row in result["results"]] == [100, 100]
    assert rows_of(database, "SELECT statistical_significance FROM ab_experiments") == [
        (result["significance"],)
    ]


def test_a_decision_of_the_rule_before_is_replayed_as_one_of_an_older_version(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(is_stopped_at_winner=False, planned_sample_size=1000)
    load(tmp_path, arms(LOW, HIGH))
    look(experiment)
    inputs = '{"alpha": 0.05, "planned_units": 1000, "metric": "spend"}'
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE headway.decision DISABLE TRIGGER USER"))
        connection.execute(
            text("UPDATE headway.decision SET rule_version = 1, inputs = CAST(:i AS jsonb)"),
            {"i": inputs},
        )
        # As the revision fills it for experiments that are there already.
        connection.execute(text("UPDATE experiment_plan SET method_options = '{}'"))
        connection.execute(text("ALTER TABLE headway.decision ENABLE TRIGGER USER"))
    load(tmp_path, [event("red-0", 0.5, "another")], name="more")
    again = look(experiment)
    assert again.winner == "red"  # its terms are those of the look before
    load_rules()
    with database.connect() as connection:
        report = replay(connection)
    assert report.differences == ()
    assert [each.stored_version for each in report.across_versions] == [1]
