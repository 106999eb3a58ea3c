from __future__ import annotations

import base64
import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions import Verdict
from tasks.errors import Reason
from tasks.experiments.quality.model import QualityCheck
from tasks.experiments.reporting import pictures, words
from tasks.experiments.reporting.advice import next_steps
from tasks.experiments.reporting.formats import as_csv, as_json
from tasks.experiments.reporting.look import look_of
from tasks.experiments.reporting.look_page import metric_parts, standing
from tasks.experiments.reporting.notices import notices_of, notices_of_checks, statistics_notice
from tasks.experiments.reporting.pictures import Bar, Point

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARM = {"name": "red", "assigned": 9, "n": 8, "mean": 3.0, "difference": 1.0, "outcome": "better"}
CONTROL = {"name": "control", "assigned": 9, "n": 8, "mean": 2.0, "m2": 1.0}


def _verdict(*reasons: tuple[str, str], **details: Any) -> Verdict:
    told = reasons or (("significant", "red beats control."),)
    return Verdict(
        verdict="winner" if details.get("winner") else "none",
        reasons=tuple(Reason(code, message) for code, message in told),
        details={"control": CONTROL, "arms": [ARM], "look_number": 3} | details,
    )


def _check(name: str, outcome: Any, message: str = "x") -> dict[str, Any]:
    return QualityCheck(name=name, outcome=outcome, message=message).model_dump()


def _svg(uri: str) -> ElementTree.Element:
    return ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))


def _texts(uri: str) -> list[str]:
    return [each.text or "" for each in _svg(uri).iter() if each.tag.endswith("text")]


def test_a_picture_names_its_rows_and_says_the_same_in_its_title() -> None:
    uri = pictures.bars([Bar("small", 1.0, (0.5, 1.5), (0.2, 1.8), "better")], "small +1")
    assert "small" in _texts(uri)
    assert [each.text for each in _svg(uri).iter() if each.tag.endswith("title")] == ["small +1"]
    assert pictures.shown(uri, "a [b]\nc").startswith("![a (b) c](data:image/svg+xml;base64,")


def test_what_is_undefined_is_said_to_be() -> None:
    assert "undefined" in _texts(pictures.bars([Bar("a", None, (None, 1), (None, None))], "t"))


def test_of_many_looks_the_last_is_always_drawn() -> None:
    points = [Point(number, 1.0, 0.0, 2.0) for number in range(1, 338)]
    svg = _svg(pictures.over_time([("red", points)], "t", "look"))
    (line,) = (each for each in svg.iter() if each.tag.endswith("polyline"))
    places = line.attrib["points"].split()
    assert len(places) <= 200
    assert places[-1].startswith("690")


figures = st.none() | st.floats()


@given(st.lists(st.tuples(figures, figures, figures), max_size=5))
def test_a_picture_can_be_drawn_of_any_figures(rows: list[tuple[Any, Any, Any]]) -> None:
    drawn = [
        pictures.bars([Bar("<&", y, (low, high), (low, high)) for y, low, high in rows], "<&"),
        pictures.over_time(
            [("<&", [Point(n, y, low, high) for n, (y, low, high) in enumerate(rows)])], "t", "look"
        ),
    ]
    for uri in drawn:
        for each in _svg(uri).iter():
            assert not {"nan", "inf", "-inf"} & {*each.attrib.values()}


def test_unknown_figures_are_dashes_and_open_ends_are_said() -> None:
    assert (words.number(None), words.number(math.inf), words.share(None)) == ("–", "–", "–")
    assert words.interval(None, 2.0) == "unbounded to +2"
    assert words.interval(-0.1, 0.25, is_share=True) == "-10.00% to +25.00%"


def test_a_report_shows_each_metric_or_why_it_failed() -> None:
    told = [
        {"name": "spend", "role": "primary", "kind": "mean", "control": CONTROL, "arms": [ARM]},
        {"name": "time", "role": "guardrail", "kind": "mean", "problem": "variance is <zero>"},
        {"name": "odd", "role": "secondary", "kind": "mean", "arms": [{"name": "red", "n": "?"}]},
    ]
    look = look_of(_verdict(metrics=told), "spend", "mean")
    assert [each.failure is None for each in look.metrics] == [True, False, False]
    shown = ["\n".join(metric_parts(metric)) for metric in look.metrics]
    assert "| red | 9 | 8 | 3 | +1 |" in shown[0]
    assert "**Failed:** variance is &lt;zero&gt;" in shown[1]
    assert "cannot be read: arms.0.n" in shown[2]


def test_a_verdict_of_the_first_rule_is_read_as_well() -> None:
    look = look_of(_verdict(), "spend", "mean")
    assert (look.method, look.checks, look.nearest) == ("group_sequential", (), None)
    assert look.primary is not None
    assert (look.primary.name, look.primary.arms[0].difference) == ("spend", 1.0)


def test_the_nearest_condition_is_said_with_the_verdict() -> None:
    nearest = {"condition": "not-significant", "arm": "red", "z": 1.0, "bound": 2.104}
    look = look_of(_verdict(nearest=nearest, note="Valid once."), "spend", "mean")
    assert "Nearest condition: not-significant: red has z +1.00 of ±2.10" in standing(look)
    assert "- Valid once." in standing(look)


def test_bounds_of_the_decision_stand_beside_the_primary_metric() -> None:
    told = [{"name": "spend", "role": "primary", "kind": "mean", "arms": [ARM | {"p_value": 0.1}]}]
    verdict = _verdict(metrics=told, arms=[ARM | {"bound": 2.1, "corrected_lift": 0.4}])
    (metric,) = look_of(verdict, "spend", "mean").metrics
    assert (metric.arms[0].bound, metric.arms[0].p_value) == (2.1, 0.1)
    assert metric.arms[0].corrected_lift == 0.4


def test_an_arm_that_failed_hides_no_other() -> None:
    arms = [ARM | {"outcome": "safe", "tolerated": 0.5}, {"name": "blue", "problem": "no units"}]
    told = [{"name": "time", "role": "guardrail", "kind": "mean", "problem": "no units"}]
    look = look_of(_verdict(metrics=[told[0] | {"arms": arms}]), "spend", "mean")
    shown = "\n".join(metric_parts(look.metrics[1]))
    assert "**Failed:** no units" in shown
    assert "within its margin (0.5)" in shown
    assert "failed: no units" in shown


def test_a_winner_is_told_once_for_its_arm() -> None:
    (notice,) = notices_of("buttons", "spend", _verdict(winner="red"), NOON, decision_id=7)
    assert (notice.kind, notice.key) == ("winner", "winner:buttons:red")
    assert (notice.text, notice.details["difference"]) == ("red beats control.", 1.0)
    assert notice.details["decision"] == 7


def test_failed_checks_are_told_once_a_day_by_their_kind() -> None:
    checks = [
        _check("srm", "failed", "900 to 700"),
        _check("srm-dimensions", "failed", "phones"),
        _check("freshness", "failed", "no event for 30 h"),
        _check("fan-out", "failed", "rows twice"),
        _check("imbalance", "unknown"),
        _check("suite", "passed"),
    ]
    found = {each.kind: each for each in notices_of("b", "m", _verdict(checks=checks), NOON)}
    assert {*found} == {"srm", "no-data", "quality"}
    assert found["srm"].key == "srm:b:2026-03-01"
    assert found["srm"].text == "srm: 900 to 700; srm-dimensions: phones"
    assert found["quality"].details["checks"] == ["fan-out"]


def test_checks_are_told_where_there_was_no_look() -> None:
    checks = [QualityCheck(name="freshness", outcome="failed", message="silent")]
    (notice,) = notices_of_checks("b", checks, NOON)
    assert (notice.kind, notice.text) == ("no-data", "freshness: silent")
    assert notices_of_checks("b", [], NOON) == ()


def test_a_broken_split_of_the_first_rule_is_told() -> None:
    (notice,) = notices_of("b", "m", _verdict(("srm", "900 to 700")), NOON)
    assert (notice.kind, notice.text) == ("srm", "900 to 700")


def test_a_broken_guardrail_is_told_once_for_its_metric() -> None:
    worse = ARM | {"outcome": "failed"}
    metrics = [{"name": "time", "role": "guardrail", "kind": "mean", "arms": [worse]}]
    (notice,) = notices_of("b", "m", _verdict(metrics=metrics), NOON)
    assert (notice.kind, notice.key) == ("guardrail", "guardrail:b:time")
    assert notice.details["arms"] == ["red"]


def test_wrong_statistics_are_told_once_a_day() -> None:
    notice = statistics_notice("b", "m", "the mean was 2, is 3", NOON)
    assert (notice.kind, notice.key) == ("statistics", "statistics:b:m:2026-03-01")


def _row(**changes: Any) -> Any:
    fields = {"name": "b", "status": "active", "winner": None, "policy": "select"}
    return SimpleNamespace(**fields | {"starts_at": None} | changes)


@pytest.mark.parametrize(
    ("row", "details", "said"),
    [
        (_row(status="draft"), None, "Start it"),
        (_row(status="draft", starts_at=NOON), None, "by itself at 2026-03-01 12:00"),
        (_row(), None, "Load its events"),
        (_row(status="paused"), {}, "Resume or complete it"),
        (_row(), {"nearest": "z must reach 2"}, "Let it run. z must reach 2"),
        (_row(), {"futility": "it will not reach 5 %"}, "Consider to complete it"),
        (_row(), {"checks": [_check("srm", "failed", "900 to 700")]}, "srm: 900 to 700"),
        (_row(status="completed"), {}, "without a winner"),
        (_row(status="completed", winner="red"), {"winner": "red"}, "roll it out"),
        (
            _row(policy="recommend"),
            {"winner": "red"},
            "agree with `headway experiment select-winner b`",
        ),
    ],
)
def test_the_dashboard_says_what_to_do_next(
    row: Any, details: dict[str, Any] | None, said: str
) -> None:
    look = None if details is None else look_of(_verdict(**details), "m", "mean")
    assert said in " ".join(next_steps(row, look))


def test_csv_and_json_keep_what_people_named() -> None:
    rows = [{"name": 'a "quoted", name\nin two lines', "n": None}]
    assert list(csv.DictReader(io.StringIO(as_csv(rows)))) == [{"name": rows[0]["name"], "n": ""}]
    document = {"n": math.nan, "at": NOON, "wait": timedelta(hours=1)}
    assert json.loads(as_json(document))["n"] == "NaN"
