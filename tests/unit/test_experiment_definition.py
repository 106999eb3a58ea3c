"""Plans of experiments: accepted or refused with a reason, whatever they say; never a crash."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import Phase, given, settings
from pydantic import ValidationError

from tasks import jsonb
from tasks.errors import InputError
from tasks.experiments.definition.editing import comparable, differences
from tasks.experiments.definition.files import as_plan, parse
from tasks.experiments.definition.lifecycle import ChangeEvidence, FieldChange, judge_change
from tasks.experiments.definition.plan import ExperimentPlan, GuardrailPlan, MetricPlan, VariantPlan
from tasks.experiments.definition.words import LARGEST_COUNT
from tests.unit.definitions import BATCH, METRIC, PLAN, SOUND, Case, batches, mutated

FUZZED = 5_000


def test_fuzzed_definitions_are_accepted_or_refused_with_a_reason() -> None:
    """A sound plan of any sort in which one or two things are otherwise, 5,000 times."""
    counts: Counter[str] = Counter()
    sorts: Counter[tuple[str, str]] = Counter()

    @settings(
        max_examples=FUZZED // BATCH, deadline=None, derandomize=True, phases=[Phase.generate]
    )
    @given(batches)
    def define(batch: list[Case]) -> None:
        for each in batch:
            outcome = _outcome(mutated(each))
            counts[outcome] += 1
            sorts[each[0], outcome] += 1

    define()
    assert counts.total() >= FUZZED
    assert set(counts) == {"accepted", "refused"}
    assert len(sorts) == 2 * len(SOUND)
    assert min(counts.values()) > FUZZED // 20, counts


_REASON = re.compile(r"the file is no plan of an experiment: (?=.*\w)[^\0]+", re.DOTALL)


def _outcome(document: dict[str, Any]) -> str:
    """Define it; an accepted plan can be stored, and means the same when it is read back."""
    try:
        plan = as_plan(document, "the file")
    except InputError as refusal:
        return "refused" if _REASON.fullmatch(str(refusal)) else f"no reason: {refusal}"
    read = ExperimentPlan.model_validate_json(jsonb.dump(plan))
    assert differences(plan, read) == ()
    assert "\\u0000" not in json.dumps(comparable(plan), allow_nan=False)
    assert abs(sum(variant.weight for variant in plan.variants) - 1) <= 1e-6
    assert 1 <= plan.planned_sample_size <= LARGEST_COUNT
    assert plan.design is None or len(plan.design.cells) == len(plan.variants)
    return "accepted"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "median"}, r"metric\.kind: no kind of .* 'median'; choose one of: count, mean, "),
        ({"kind": "proportion", "aggregation": "sum"}, "a proportion needs aggregation 'any'"),
        ({"kind": "count", "aggregation": "sum"}, "a count needs aggregation 'count'"),
        ({"kind": "ratio"}, "needs denominator_aggregation and denominator_event_type"),
        ({"kind": "quantile"}, "a quantile needs quantile"),
        ({"kind": "quantile", "quantile": 0.5, "cap_quantile": 0.9}, "takes no cap_quantile"),
        ({"kind": "mean", "quantile": 0.5}, "a mean takes no quantile"),
        ({"kind": "mean", "window_hours": 2, "window_start_hours": 3}, "ends before it starts"),
        ({"covariate_days": 7, "covariate_attribute": "x"}, "one covariate"),
        ({"window_hours": 1e308}, "window_hours: Input should be less than or equal to 1000000"),
        ({"cap_quantile": 0.3}, r"cap_quantile: Input should be greater than 0\.5"),
        (
            {"event_typ": "e"},
            r"metric\.event_typ: there is no such field; did you mean event_type\? Known: name, ",
        ),
    ],
)
def test_a_metric_that_does_not_fit_its_kind_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        as_plan(PLAN | {"metric": METRIC | changes}, "the file")


def test_what_a_kind_leaves_no_choice_in_need_not_be_said() -> None:
    told = {"name": "m", "event_type": "e"}
    returned = MetricPlan.model_validate(
        told | {"kind": "retention", "window_start_hours": 24, "window_hours": 48}
    )
    assert (returned.aggregation, returned.missing) == ("any", "zero")
    with pytest.raises(ValidationError, match="a mean must say its aggregation and missing"):
        MetricPlan.model_validate(told | {"kind": "mean"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "guess"}, "method: no method is called 'guess'; choose one of: bayesian, conf"),
        ({"method_options": {"threshold": 1}}, r"threshold: .* \(options: .*spending_power\)"),
        ({"method": "fixed", "reserved_alpha": 0.01}, "is for the method group_sequential"),
        ({"reserved_alpha": 0.05}, "reserved_alpha is a part of alpha"),
        ({"baseline": {"mean": 1, "correlation": 0.5}}, "correlation is with the metric's covari"),
        ({"tie_break_metric": "x"}, "is none of the metrics: m"),
        ({"guardrails": [METRIC | {"margin": 0.1}]}, "the metric 'm' is there twice"),
        ({"dimensions": ["epoch"]}, "'epoch' is kept anyway"),
        ({"dimensions": ["a", "a"]}, "a dimension is named twice"),
        ({"starts_at": "2031-01-02", "ends_at": "2031-01-01"}, "ends_at must be after"),
        (
            {"starts_at": "2031-01-02", "ends_at": "2031-01-09", "minimum_weeks": 2},
            "would end after 7 days, before its 2 minimum_weeks",
        ),
        ({"starts_at": "0001-01-01T00:00:00+09:00"}, "outside the years 1 to 9999"),
        ({"planned_sample_size": 0}, "say planned_sample_size, or minimum_effect and baseline"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_plan(PLAN | changes, "the file")


def test_a_control_without_traffic_is_refused() -> None:
    arms = [{"name": "a", "weight": 0, "is_control": True}, {"name": "b", "weight": 1}]
    with pytest.raises(InputError, match="the control 'a' has no traffic"):
        as_plan(PLAN | {"variants": arms}, "the file")


def test_times_without_a_zone_are_utc() -> None:
    plan = as_plan(PLAN | {"ends_at": "2031-01-01T10:00:00"}, "the file")
    assert str(plan.ends_at) == "2031-01-01 10:00:00+00:00"


def test_toml_and_json_say_the_same() -> None:
    text = """
    name = "p"
    planned_sample_size = 1000
    ends_at = 2031-01-01T10:00:00Z
    [metric]
    name = "m"
    kind = "mean"
    event_type = "e"
    aggregation = "sum"
    missing = "zero"
    [[variants]]
    name = "a"
    weight = 0.5
    is_control = true
    [[variants]]
    name = "b"
    weight = 0.5
    """
    document = json.dumps(PLAN | {"ends_at": "2031-01-01T10:00:00Z"})
    plans = [as_plan(parse(text, ".toml"), "a"), as_plan(parse(document, ".json"), "b")]
    assert differences(*plans) == ()


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("[]", ".json", "one object"),
        ('{"name": 1, "name": 2}', ".json", "'name' is there twice in one object"),
        ("{", ".json", "Expecting"),
        ("name", ".toml", "Expected"),
        ("a: 1", ".yaml", r"\.toml or \.json"),
    ],
)
def test_a_text_that_is_no_plan_is_refused(text: str, suffix: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, suffix)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hypotesis": "h"},
            r"hypotesis: .*did you mean hypothesis\? Known: name, variants, metric",
        ),
        ({"zzz": 1}, "zzz: there is no such field; Known: name, variants, metric"),
        (
            {"guardrails": [METRIC | {"name": "g", "margn": 0.1}]},
            r"guardrails\[0\]\.margn: .*did you mean margin\?",
        ),
        (
            {"target_rules": [{"attribute": "country", "op": "exists", "values": 1}]},
            r"target_rules\[0\]\.values: .*mean value\? Known: attribute, op, value",
        ),
    ],
)
def test_a_misspelt_field_is_told_with_those_that_there_are(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        as_plan(PLAN | changes, "the file")


def test_the_plan_in_the_documents_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs/experiments.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    plan = as_plan(parse(block, ".toml"), "docs/experiments.md")
    assert plan.metric.window_hours == 72
    for model in (ExperimentPlan, VariantPlan, GuardrailPlan):
        assert [name for name in model.model_fields if f"`{name}" not in page] == []


@pytest.mark.parametrize(
    ("status", "method", "verdict"),
    [
        ("active", "fixed", "refused"),  # whoever saw the figures could choose the moment
        ("paused", "fixed", "refused"),
        ("active", "group_sequential", "allowed"),
        ("draft", "fixed", "allowed"),
    ],
)
def test_the_end_of_a_single_test_is_settled_before_it_starts(
    status: Literal["active", "paused", "draft"], method: str, verdict: str
) -> None:
    change = FieldChange(field="ends_at", old="2031-02-01", new="2031-01-20")
    evidence = ChangeEvidence(
        experiment="e", action="edit", status=status, version=1, method=method, changes=(change,)
    )
    judged = judge_change(evidence)
    assert judged.verdict == verdict
    assert [reason.code for reason in judged.reasons] == ["end-is-fixed"] * (verdict == "refused")
