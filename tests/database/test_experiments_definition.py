"""Experiments on Postgres: every column of a plan is written, changes keep the data valid."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text

from tasks import ledger
from tasks.decisions import replay
from tasks.errors import InputError, NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.definition.changing import ChangedExperiment
from tasks.experiments.definition.editing import ExperimentEdit, differences
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.reading import read_experiment
from tasks.rules import load_rules
from tasks.schema import metadata
from tests.database.experiments import metric, new_run, plan, start
from tests.rows import rows_of

EVERYTHING: dict[str, Any] = {
    "name": "greeting",
    "description": "Does a warmer greeting help?",
    "hypothesis": "More people answer a warm greeting.",
    "target_bot": "support-bot",
    "organization": "acme",
    "planned_sample_size": 20_000,
    "minimum_sample_size": 500,
    "minimum_weeks": 2,
    "alpha": 0.04,
    "power": 0.9,
    "minimum_effect": 0.1,
    "method": "bayesian",
    "method_options": {"threshold": 0.99},
    "policy": "recommend",
    "is_stopped_at_winner": False,
    "tie_break_metric": "time-to-answer",
    "traffic_fraction": 0.5,
    "target_rules": [{"attribute": "country", "op": "in", "value": ["DE", "AT"]}],
    "dimensions": ["country"],
    "starts_at": "2031-01-05T00:00:00Z",
    "ends_at": "2031-03-01T00:00:00Z",
    "variants": [
        {"name": "cool", "weight": 0.4, "is_control": True},
        {
            "name": "warm",
            "weight": 0.6,
            "label": "Warm greeting",
            "description": "calls people by name",
            "response_template": "Hello {name}!",
            "system_prompt": "Be warm.",
            "config_overrides": {"temperature": 0.7},
            "model_version": "v2",
        },
    ],
    "metric": {
        "name": "answers-each-visit",
        "kind": "ratio",
        "event_type": "answer",
        "aggregation": "count",
        "missing": "zero",
        "description": "answers for each visit",
        "window_start_hours": 1,
        "window_hours": 72,
        "denominator_event_type": "visit",
        "denominator_aggregation": "count",
    },
    "secondary_metrics": [
        {
            "name": "time-to-answer",
            "kind": "quantile",
            "event_type": "answer",
            "aggregation": "first",
            "missing": "exclude",
            "is_higher_better": False,
            "quantile": 0.9,
        },
        {"name": "orders", "kind": "count", "event_type": "order", "covariate_days": 14},
    ],
    "guardrails": [
        {
            "name": "revenue",
            "kind": "sum",
            "event_type": "order",
            "cap_quantile": 0.99,
            "covariate_attribute": "revenue_before",
            "margin": 0.02,
            "alpha": 0.1,
        }
    ],
}
# Filled by looks, or when an experiment is over.
_OF_LOOKS = {
    "ab_experiments.completed_at",
    "ab_experiments.winner_variant",
    "ab_experiments.statistical_significance",
    "ab_variants.impressions",
    "ab_variants.conversions",
    "ab_variants.conversion_rate",
    "ab_variants.total_value",
    "ab_variants.confidence_interval_lower",
    "ab_variants.confidence_interval_upper",
}
PLANNED_TABLES = ["ab_experiments", "ab_variants", "experiment_plan", "experiment_metric", "metric"]
PLANNED_TABLES += ["variant_level", "layer_slot"]
BANDIT: dict[str, Any] = {
    "name": "bandit",
    "bandit": {"algorithm": "top_two", "floor": 0.02},
    "layer": "chat",
    "layer_share": 0.3,
    "segment_of": "greeting",
}
FACTORS: list[dict[str, Any]] = [
    {"name": "price", "levels": ["low", "high"]},
    {"name": "color", "levels": ["red", "blue"], "configuration": {"blue": {"ui": {"hue": 240}}}},
    {"name": "size", "levels": ["s", "m"], "configuration": {"m": {"ui": {"width": 2}}}},
]
DESIGN: dict[str, Any] = {
    "name": "design",
    "variants": [],
    "factors": FACTORS,
    "generators": ["C = -AB"],
}
HOLDOUT: dict[str, Any] = {"name": "holdout", "is_holdout": True}


def act(name: str, action: Any, version: int | None = None, **edit: Any) -> ChangedExperiment:
    with new_run():
        return steps.change_experiment(
            experiment=name,
            action=action,
            edit=ExperimentEdit(**edit) if edit else None,
            version=version,
        )


def codes(refusal: pytest.ExceptionInfo[Refused]) -> set[str]:
    return {reason.code for reason in refusal.value.reasons}


def stored(database: Engine, name: str = "buttons") -> ExperimentPlan:
    with database.begin() as tx:
        return read_experiment(tx, name).plan


def test_a_plan_reaches_every_column(database: Engine) -> None:
    """Of each column some row holds what differs from its default: none is written by nothing."""
    by_ada = ledger.RunInfo(str(uuid4()), "test", "tests:test", "ledger", "ada", "a warm one")
    sequential = {"name": "sequential", "method": "group_sequential", "method_options": {}}
    with ledger.in_run(by_ada):
        for changes in ({}, sequential | {"reserved_alpha": 0.01}):
            planned = ExperimentPlan.model_validate(EVERYTHING | changes)
            steps.create_experiment(plan=planned, is_started=True)
        for changes in (BANDIT, DESIGN, HOLDOUT):
            steps.create_experiment(plan=plan(**changes))
    act("greeting", "edit", hypothesis="Everybody answers a warm greeting.")
    with database.connect() as connection:
        untouched = {
            f"{table}.{column}"
            for table in PLANNED_TABLES
            for column in _untouched(connection, table)
        }
    assert untouched == _OF_LOOKS


def _untouched(connection: sa.Connection, table: str) -> list[str]:
    """The columns in which every row holds the default (or null)."""
    found = metadata.tables[table]
    rows = connection.execute(sa.select(found)).mappings().all()
    return [
        column.name
        for column in found.columns
        if {str(row[column.name]) for row in rows} <= {"None", str(_default(connection, column))}
    ]


def _default(connection: sa.Connection, column: sa.Column[Any]) -> Any:
    default = column.server_default
    if not isinstance(default, sa.DefaultClause) or isinstance(default.arg, sa.Function):
        return None
    written = f"'{default.arg}'" if isinstance(default.arg, str) else str(default.arg)
    kind = column.type.compile(connection.dialect)
    return connection.scalar(text(f"SELECT CAST({written} AS {kind})"))


def test_a_plan_comes_back_as_it_was(database: Engine, run: Any) -> None:
    planned = ExperimentPlan.model_validate(EVERYTHING)
    created = steps.create_experiment(plan=planned)
    assert (created.status, created.is_new) == ("draft", True)
    assert differences(stored(database, "greeting"), planned) == ()
    with new_run():
        assert not steps.create_experiment(plan=planned).is_new
    with new_run(), pytest.raises(Refused, match="another power") as refusal:
        steps.create_experiment(plan=planned.model_copy(update={"power": 0.8}))
    assert codes(refusal) == {"plan-differs"}


def test_a_draft_of_the_same_plan_is_started_where_that_is_asked_for(database: Engine) -> None:
    with new_run():
        steps.create_experiment(plan=plan())
    with new_run():
        assert steps.create_experiment(plan=plan(), is_started=True).status == "active"
    assert rows_of(database, "SELECT epoch, actor FROM allocation") == [(1, None)]


def test_a_metric_of_another_meaning_is_refused(database: Engine, run: Any) -> None:
    steps.create_experiment(plan=plan())
    other = plan(name="other", metric=metric(window_hours=24))
    with pytest.raises(Refused, match="window_hours; rename it") as refusal:
        steps.create_experiment(plan=other)
    assert codes(refusal) == {"metric-differs"}
    assert rows_of(database, "SELECT count(*) FROM ab_experiments") == [(1,)]


def test_an_experiment_goes_through_its_life_and_each_move_is_kept(database: Engine) -> None:
    with new_run():
        steps.create_experiment(plan=plan())
    moves = ("start", "pause", "resume", "complete", "archive")
    states = [act("buttons", move).status for move in moves]
    assert states == ["active", "paused", "active", "completed", "archived"]
    kept = "SELECT inputs ->> 'action' FROM headway.decision WHERE rule = 'experiment-change'"
    assert [row[0] for row in rows_of(database, f"{kept} ORDER BY id")] == [*moves]
    assert rows_of(
        database, "SELECT started_at IS NOT NULL, completed_at IS NOT NULL FROM ab_experiments"
    ) == [(True, True)]
    load_rules()
    with database.connect() as connection:
        assert replay(connection).differences == ()


def test_a_move_that_was_made_before_changes_nothing(database: Engine) -> None:
    start()
    assert act("buttons", "start").is_noop
    assert rows_of(database, "SELECT count(*) FROM headway.decision") == [(0,)]


def test_an_illegal_move_is_refused_and_changes_nothing(database: Engine) -> None:
    start()
    with pytest.raises(Refused, match="it is active; only one that is completed") as refusal:
        act("buttons", "archive")
    assert codes(refusal) == {"illegal-move"}
    assert rows_of(database, "SELECT status::text FROM ab_experiments") == [("active",)]


def test_what_was_changed_meanwhile_is_not_overwritten(database: Engine) -> None:
    start()
    assert act("buttons", "pause", version=1).version == 2
    with pytest.raises(Refused, match="at version 2, no longer at 1") as refusal:
        act("buttons", "resume", version=1)
    assert codes(refusal) == {"stale-version"}


def test_a_draft_may_change_in_everything(database: Engine, run: Any) -> None:
    first = ExperimentPlan.model_validate(EVERYTHING)
    steps.create_experiment(plan=first)
    second = plan(name="greeting", secondary_metrics=[{**EVERYTHING["metric"], "window_hours": 9}])
    changed = act("greeting", "edit", plan=second)
    assert {"variants", "metric", "alpha", "target_rules"} <= {c.field for c in changed.changes}
    assert stored(database, "greeting") == second
    assert act("greeting", "edit", plan=second).is_noop


def test_an_active_experiment_changes_only_in_what_keeps_its_data_valid(database: Engine) -> None:
    start()
    ends_at = "2032-01-01T00:00:00Z"
    changed = act(
        "buttons",
        "edit",
        description="d",
        hypothesis="h",
        ends_at=ends_at,
        minimum_sample_size=20,
        labels={"red": "Red button"},
        weights={"control": 0.3, "red": 0.7},
    )
    assert len(changed.changes) == 7
    found = stored(database)
    assert (found.minimum_sample_size, found.description) == (20, "d")
    assert {arm.name: (arm.weight, arm.label) for arm in found.variants} == {
        "control": (0.3, None),
        "red": (0.7, "Red button"),
    }
    assert rows_of(database, "SELECT epoch FROM allocation ORDER BY 1") == [(1,), (2,)]
    split = "SELECT (default_traffic_split ->> 'red')::float8 FROM ab_experiments"
    assert rows_of(database, split) == [(0.7,)]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"planned_sample_size": 500}, "field-is-fixed", "planned_sample_size"),
        ({"alpha": 0.01}, "field-is-fixed", "alpha"),
        ({"metric": {"window_hours": 24}}, "field-is-fixed", "metric"),
        ({"method": "fixed"}, "field-is-fixed", "method"),
        ({"traffic_fraction": 0.5}, "field-is-fixed", "traffic_fraction"),
        ({"minimum_sample_size": 9}, "minimum-may-only-grow", "not from 10 to 9"),
    ],
)
def test_an_active_experiment_keeps_its_plan(
    database: Engine, changes: dict[str, Any], code: str, field: str
) -> None:
    start()
    if "metric" in changes:
        changes = {"metric": metric(**changes["metric"])}
    with pytest.raises(Refused, match=field) as refusal:
        act("buttons", "edit", plan=plan(**changes))
    assert codes(refusal) == {code}
    assert stored(database) == plan()


def test_arms_of_an_active_experiment_stay(database: Engine) -> None:
    start()
    third = [("control", 0.4), ("red", 0.4), ("blue", 0.2)]
    arms = [{"name": name, "weight": w, "is_control": name == "control"} for name, w in third]
    with pytest.raises(Refused, match="variants cannot change"):
        act("buttons", "edit", plan=plan(variants=arms))


def test_an_ended_experiment_changes_only_in_words(database: Engine) -> None:
    start()
    act("buttons", "complete")
    act("buttons", "edit", description="it was red", labels={"red": "Red"})
    with pytest.raises(Refused, match="ends_at cannot change once an experiment is completed"):
        act("buttons", "edit", ends_at="2032-01-01T00:00:00Z")


def test_an_edit_that_does_not_fit_is_refused_with_its_reason(database: Engine) -> None:
    start()
    with pytest.raises(
        Refused, match=r"must add up to 1, not 0\.9: control 0\.5, red 0\.4"
    ) as refusal:
        act("buttons", "edit", weights={"red": 0.4})
    assert codes(refusal) == {"invalid-plan"}
    for name, action, edit, message in (
        ("buttons", "edit", {"weights": {"blue": 1}}, "no variant blue"),
        ("buttons", "edit", {"plan": plan(name="else")}, "not of 'buttons'"),
        ("buttons", "edit", {}, "say what to edit"),
        ("buttons", "pause", {"description": "d"}, "only with it"),
    ):
        with pytest.raises(InputError, match=message):
            act(name, action, **edit)
    with pytest.raises(NotFound, match="no experiment is called 'nobody'"):
        act("nobody", "pause")
