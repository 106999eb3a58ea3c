"""Pages of segments and of days: whatever is known can be shown, and no name breaks it."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from tasks.experiments.decision.evidence import Cell
from tasks.experiments.exposure.evidence import DayEffect, Novelty, Trend
from tasks.experiments.reporting.exposure_days_page import page as days_page
from tasks.experiments.reporting.pictures import Point, over_time
from tasks.experiments.reporting.segments_page import page as segments_page
from tasks.experiments.reporting.segments_page import segment_parts
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.evidence import SegmentCell, SegmentEvidence, Segments

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ODD = "red | <b>\nx"


def svgs(markdown: str) -> list[ElementTree.Element]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", markdown)
    return [ElementTree.fromstring(base64.b64decode(each)) for each in found]


def report(levels: int, **changes: Any) -> Segments:
    """As many levels with an arm of an odd name."""
    cells = [
        SegmentCell(
            dimension="city", level=f"{ODD}{n}", arm=arm, cell=Cell(n=n, mean=5, m2=9.0 * n)
        )
        for n in range(levels)
        for arm in ("control", ODD)
    ]
    fields: dict[str, Any] = {"metric": "spend", "role": "primary", "kind": "mean", "alpha": 0.05}
    fields |= {"is_higher_better": True, "control": "control", "treatments": [ODD], "cells": cells}
    metric = segments_of(SegmentEvidence.model_validate(fields | changes))
    other = metric.model_copy(update={"metric": "clicks", "role": "secondary"})
    return Segments(
        experiment="shop", as_of=NOW, dimensions=("city",), metrics=(metric, other), cut_out=(ODD,)
    )


def test_many_levels_are_cut_and_the_rest_is_named() -> None:
    page = segments_page(report(150))
    assert "90 more rows are in the JSON and CSV forms" in page
    assert "and 95 more" in page  # levels that were too small
    assert len(svgs(page)) == 2
    rows = [line for line in page.splitlines() if line.startswith("| city")]
    assert len({line.replace("\\|", "").count("|") for line in rows if "Q" not in line}) == 2
    assert "<b>" not in page


def test_in_a_report_only_the_first_metric_has_its_levels() -> None:
    parts = segment_parts(report(120), "###", is_short=True)
    assert sum("| Dimension | Level |" in part for part in parts) == 1
    assert sum("| Dimension | Arm | Levels |" in part for part in parts) == 2


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_a_page_can_be_made_of_whatever_is_known(levels: int) -> None:
    assert segments_page(report(levels)).startswith("# shop: by segment")
    assert svgs(segments_page(report(levels))) == []
    unknown = segments_page(report(levels, problem="the split has moved"))
    assert "Unknown: the split has moved." in unknown
    empty = Segments(experiment="x", as_of=NOW, dimensions=(), metrics=(), cut_out=())
    assert "It has no metric." in segments_page(empty)


def novelty(days: int, **changes: Any) -> Novelty:
    effects = [
        DayEffect(
            day=day, arm=ODD, control_units=day, units=day, control_value=1.0, value=2.0,
            difference=None if day % 2 else 1.0, lower=0.5, upper=None if day % 3 else 2.0,
        )
        for day in range(days)
    ]  # fmt: skip
    nothing = dict.fromkeys(
        ("average", "span", "early", "late", "change", "lower", "upper", "p_value", "p_adjusted")
    )
    trend = Trend(arm=ODD, outcome="unknown", message=f"whether {ODD} lasts", **nothing)
    fields: dict[str, Any] = {"experiment": "shop", "as_of": NOW, "metric": "spend", "kind": "mean"}
    fields |= {"alpha": 0.05, "first_day": 0, "followed_days": days, "units": {ODD: 5}}
    fields |= {"units_in_all": 7, "problem": "", "days": effects, "trends": [trend]}
    return Novelty.model_validate(fields | changes)


@pytest.mark.parametrize(("days", "pictures"), [(0, 0), (3, 0), (9, 1), (70, 1)])
def test_days_are_drawn_where_three_of_them_are_known(days: int, pictures: int) -> None:
    page = days_page(novelty(days))
    assert len(svgs(page)) == pictures
    assert "2 others have not been there for so long" in page
    assert ("10 more rows" in page) is (days == 70)
    assert "<b>" not in page


def test_a_page_of_days_says_what_is_unknown() -> None:
    page = days_page(novelty(0, problem="the split has moved"))
    assert page.endswith("Unknown: the split has moved.\n")


def test_a_line_that_is_seen_whole_has_room_for_its_first_days() -> None:
    points = [Point(n, 100.0 if n == 0 else 1.0, None, None) for n in range(8)]
    texts = {
        is_whole: {
            each.text
            for each in svgs(over_time([("a", points)], "t", "d", is_whole=is_whole))[0].iter()
        }
        for is_whole in (True, False)
    }
    assert "100" in texts[True]
    assert "100" not in texts[False]
