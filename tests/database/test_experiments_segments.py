"""Segments from the folded statistics to reports and commands, and experiments for one of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import Engine, text

from tasks.errors import InputError, NotFound, Refused
from tasks.experiments import steps
from tasks.experiments.assignment.targeting import matches
from tasks.experiments.definition.showing import show_experiment
from tasks.experiments.reporting.detailed import read_report
from tasks.experiments.reporting.exposure_days import read_exposure_report
from tasks.experiments.reporting.formats import rendered
from tasks.experiments.reporting.segments import read_segments_report
from tasks.experiments.segments.cutting import SegmentPlan, plan_segment
from tasks.experiments.segments.gathering import EPOCHS, QUERIES
from tests.database.command_line import Call, headway_fixture
from tests.database.experiments import assignment, event, fold_now, load, metric, new_run, start

headway = headway_fixture("experiment")
BY_ADA = ("--actor", "ada", "--reason", "phones differ")
COUNTRIES = ("at", "ch", "de")


def _world(folder: Path, **changes: Any) -> dict[tuple[str, str], list[float]]:
    """Phones gain by red, desktops do not; who has no device, and what each unit spent."""
    rng = np.random.default_rng(8)
    experiment = start(dimensions=["device", "country"], **changes)
    rows: list[dict[str, Any]] = []
    spent: dict[tuple[str, str], list[float]] = {}
    for arm in ("control", "red"):
        for number in range(330):
            device = ("phone", "desktop", None)[number % 3]
            gain = 4.0 if (arm, device) == ("red", "phone") else 0.0
            value = round(float(rng.normal(20 + gain, 5)), 3)
            meta = {"country": COUNTRIES[number // 3 % 3]} | ({"device": device} if device else {})
            user = f"{arm}-{number}"
            rows += [assignment(user, arm, metadata=meta), event(user, value, f"e-{user}")]
            spent.setdefault((arm, device or "(none)"), []).append(value)
    load(folder, rows)
    fold_now(experiment)
    return spent


def test_effects_by_segment_are_those_of_unit_rows(database: Engine, tmp_path: Path) -> None:
    spent = _world(
        tmp_path, secondary_metrics=[metric(name="median", kind="quantile", quantile=0.5)]
    )
    with database.connect() as connection:
        found = read_segments_report(connection, "buttons")
    spend, median = found.metrics
    assert "quantile" in median.problem
    by_level = {each.level: each for each in spend.effects if each.dimension == "device"}
    assert [*by_level] == ["desktop", "phone", "(none)"]
    for level, each in by_level.items():
        pair = spent["red", level], spent["control", level]
        welch = stats.ttest_ind(*pair, equal_var=False)
        assert each.difference == pytest.approx(np.mean(pair[0]) - np.mean(pair[1]))
        assert each.p_value == pytest.approx(welch.pvalue)
    assert (by_level["phone"].outcome, by_level["(none)"].is_tested) == ("better", False)
    country, device = spend.tests
    assert (device.finding, device.levels) == ("differs", 2)
    assert (country.finding, country.levels) == ("none-seen", 3)


def test_every_form_has_the_segments_and_so_has_the_report(
    database: Engine, tmp_path: Path
) -> None:
    _world(tmp_path)
    with database.connect() as connection:
        found = read_segments_report(connection, "buttons")
        report = read_report(connection, "buttons")
    page = rendered(found, "markdown")
    assert page.startswith("# buttons: by segment")
    assert page.count("data:image/svg+xml") == 2
    assert "units that do not say it: shown, not tested" in page
    lines = list(csv.DictReader(io.StringIO(rendered(found, "csv"))))
    assert len(lines) == len(found.metrics[0].effects) == 6
    assert {line["finding"] for line in lines if line["dimension"] == "device"} == {"differs"}
    document = json.loads(rendered(report, "json"))
    assert document["segments"]["metrics"][0]["tests"][1]["finding"] == "differs"
    assert document["novelty"]["experiment"] == "buttons"
    assert "## Segments\n\n### spend (primary)" in report.as_markdown()
    assert "## Over time since exposure" in report.as_markdown()


def test_statistics_of_others_and_no_dimensions_are_unknown(
    database: Engine, tmp_path: Path
) -> None:
    _world(tmp_path)
    start(name="plain", metric=metric(name="other"))
    with database.begin() as tx:
        assert (
            read_segments_report(tx, "plain").metrics[0].problem == "the plan names no dimensions"
        )
        assert "## Segments" not in read_report(tx, "plain").as_markdown()
        tx.execute(text("UPDATE experiment_plan SET dimensions = '{device}'"))
        (told,) = read_segments_report(tx, "plain").metrics
        assert told.problem == "its statistics have not been worked out yet"
        tx.execute(text("DELETE FROM moment_statistic WHERE dimension <> ''"))
        found = read_segments_report(tx, "buttons")
        assert "no unit has a level" in found.metrics[0].problem
        assert "Unknown: no unit has a level" in found.as_markdown()
        with pytest.raises(NotFound, match="headway experiment list"):
            read_segments_report(tx, "nothing")


def _planned(database: Engine, level: str = "phone", **options: Any) -> SegmentPlan:
    with database.connect() as connection:
        return plan_segment(connection, "buttons", "device", level, **options)


def test_a_segment_is_the_same_experiment_for_whom_it_names(
    database: Engine, tmp_path: Path
) -> None:
    guardrail = metric(name="visits", event_type="visit") | {"margin": 0.1}
    europe = {"attribute": "country", "op": "in", "value": [*COUNTRIES]}
    _world(tmp_path, guardrails=[guardrail], target_rules=[europe], minimum_effect=0.1)
    found = _planned(database)
    with database.connect() as connection:
        parent = show_experiment(connection, "buttons").experiment.plan
    plan = found.plan
    assert (plan.name, plan.segment_of) == ("buttons, device phone", "buttons")
    assert (plan.variants, plan.metric, plan.guardrails) == (
        parent.variants,
        parent.metric,
        parent.guardrails,
    )
    assert (plan.method, plan.alpha, plan.minimum_effect) == ("group_sequential", 0.05, 0.1)
    assert found.share == pytest.approx(1 / 3)
    assert plan.planned_sample_size == 134  # a third of 400
    assert plan.dimensions == ("country",)
    assert matches(plan.target_rules, {"country": "at", "device": "phone"})
    assert not matches(plan.target_rules, {"country": "at", "device": "desktop"})
    assert not matches(plan.target_rules, {"country": "fr", "device": "phone"})
    assert "find effects 1.73 times as large" in found.notes[0]
    assert "complete it before you start this one" in found.notes[1]
    assert _planned(database, sample_size=900, name="phones").plan.planned_sample_size == 900


def test_a_level_is_named_as_the_units_hold_it(database: Engine, tmp_path: Path) -> None:
    _world(tmp_path)
    with database.begin() as tx:
        tx.execute(
            text(
                "UPDATE ab_assignments SET metadata = jsonb_set(metadata, '{device}', CASE "
                "WHEN user_id LIKE '%2' THEN '\"7\"'::jsonb WHEN user_id LIKE '%3' THEN '7' "
                "WHEN user_id LIKE '%4' THEN 'true' ELSE '[1]' END)"
            )
        )
    rule = _planned(database, "7").plan.target_rules[-1]
    assert rule.op == "in"
    assert isinstance(rule.value, tuple)
    assert {*map(repr, rule.value)} == {"7", "'7'"}
    assert _planned(database, "true").plan.target_rules[-1].value is True
    with pytest.raises(Refused, match="holds lists or objects"):
        _planned(database, "[1]")


@pytest.mark.parametrize(
    ("level", "code", "said"),
    [
        ("(none)", "no-level", "no value of it that a rule could name"),
        ("(other)", "no-level", "no value of it that a rule could name"),
        ("phnoe", "no-units", "did you mean 'phone'"),
        ("zzz", "no-units", "units have: desktop, phone"),
        ("x" * 200, "no-level", "kept by 200 characters"),
    ],
)
def test_what_is_no_segment_is_refused(
    database: Engine, tmp_path: Path, level: str, code: str, said: str
) -> None:
    _world(tmp_path)
    with pytest.raises(Refused, match=rf"\[{code}\].*{said}"):
        _planned(database, level)


def test_other_reasons_to_refuse_a_segment(database: Engine, tmp_path: Path) -> None:
    _world(tmp_path, minimum_sample_size=100)
    with pytest.raises(
        Refused, match=r"\[too-small\] 33.3% of the units is 134 of 400, and 2 arms"
    ):
        _planned(database)
    with database.begin() as tx:
        with pytest.raises(Refused, match=r"is to be 10, and 2 arms need 100 .* 200 or more$"):
            plan_segment(tx, "buttons", "device", "phone", sample_size=10)
        with pytest.raises(Refused, match=r"'plan' is no dimension of it; it has: device, country"):
            plan_segment(tx, "buttons", "plan", "free")
        with pytest.raises(InputError, match="is no plan of an experiment: name"):
            plan_segment(tx, "buttons", "device", "phone", name="two\nlines", sample_size=400)
        with pytest.raises(NotFound):
            plan_segment(tx, "nothing", "device", "phone")
        tx.execute(text("UPDATE experiment_plan SET is_holdout = true, policy = 'recommend'"))
        tx.execute(text('UPDATE ab_assignments SET metadata = \'{"device": "phone"}\''))
        with pytest.raises(Refused, match=r"(?s)\[holdout\].*\[everybody\] all of its units"):
            plan_segment(tx, "buttons", "device", "phone")


def test_the_segment_of_a_bandit_begins_as_the_bandit_began(
    database: Engine, tmp_path: Path
) -> None:
    _world(tmp_path, bandit={"algorithm": "thompson"})
    with database.begin() as tx:
        tx.execute(
            text(
                "UPDATE ab_variants SET traffic_weight = CASE WHEN is_control THEN 0.1 ELSE 0.9 END"
            )
        )
        plan = plan_segment(tx, "buttons", "device", "phone").plan
    assert [arm.weight for arm in plan.variants] == [0.5, 0.5]
    assert plan.bandit is not None


def test_a_segment_of_a_design_has_its_cells_and_asks_for_the_same_part_of_the_layer(
    database: Engine, tmp_path: Path
) -> None:
    factors = [{"name": each, "levels": ["no", "yes"]} for each in ("big", "red")]
    part = {"layer": "home", "layer_share": 0.6}
    start(variants=[], factors=factors, dimensions=["device"], **part)
    with database.connect() as connection:
        arms = list(connection.scalars(text("SELECT variant_name FROM ab_variants")))
    meta = [{"device": "phone"}, {"device": "desktop"}]
    load(tmp_path, [assignment(f"u{n}", arms[n % 4], metadata=meta[n % 2]) for n in range(20)])
    plan = _planned(database).plan
    assert ({arm.name for arm in plan.variants}, len(plan.factors)) == ({*arms}, 2)
    with new_run(), pytest.raises(Refused, match=r"\[layer-full\].*buttons \(active\) holds"):
        steps.create_experiment(plan=plan)
    with new_run():
        steps.change_experiment(experiment="buttons", action="complete")
        assert steps.create_experiment(plan=_planned(database).plan).is_new


def test_a_segment_is_created_and_shown_on_both_sides(
    database: Engine, tmp_path: Path, headway: Call
) -> None:
    _world(tmp_path)
    words = ("segment", "buttons", "--dimension", "device", "--level", "phone")
    code, said = headway(*words, "--dry-run")
    assert (code, '"segment_of": "buttons"' in said) == (0, True)
    assert headway(*words)[0] == 2
    code, said = headway(*words, "--name", "phones", *BY_ADA)
    assert code == 0
    assert "33.3% of the units of buttons are in it" in said
    assert "phones: created as a draft" in said
    _, child = headway("show", "phones", "--json")
    assert child["experiment"]["plan"]["segment_of"] == "buttons"
    assert child["experiment"]["status"] == "draft"
    _, parent = headway("show", "buttons", "--json")
    assert parent["segments"] == ["phones"]
    assert "Experiments for one segment of it: phones." in headway("show", "buttons")[1]
    assert "Experiments for one segment of it: phones." in headway("segments", "buttons")[1]
    assert "segment_of" in headway("report", "phones")[1]
    assert headway("segment", "buttons", "--dimension", "x", "--level", "y", *BY_ADA)[0] == 3


def test_segments_and_novelty_come_in_every_form_from_a_terminal(
    database: Engine, tmp_path: Path, headway: Call
) -> None:
    _world(tmp_path)
    code, document = headway("segments", "buttons", "--json")
    assert (code, document["dimensions"]) == (0, ["device", "country"])
    code, said = headway("novelty", "buttons", "--format", "csv", "--days", "3")
    assert (code, said.count("\n")) == (0, 4)
    code, document = headway("novelty", "buttons", "--json")
    assert (code, document["followed_days"]) == (0, 28)
    page = tmp_path / "page.md"
    assert headway("novelty", "buttons", "-o", str(page))[0] == 0
    assert "followed for 28 days" in page.read_text("utf-8")
    assert headway("novelty", "nothing")[0] == 2
    with database.connect() as connection:
        assert read_exposure_report(connection, "buttons", 3).csv_rows()[1]["day"] == 1


def test_every_query_of_segments_can_be_planned(database: Engine) -> None:
    with database.begin() as tx:
        plain = [each for name, each in QUERIES.items() if name != "segment_epochs"]
        for query in (*plain, EPOCHS):
            asked = dict.fromkeys(query.compile().params)
            tx.execute(text(f"EXPLAIN {query.text}"), asked)
