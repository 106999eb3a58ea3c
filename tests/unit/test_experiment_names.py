"""Names of experiments, variants and metrics: refused where reports would show something else."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import InputError
from tasks.experiments.definition.files import as_plan
from tests.unit.definitions import METRIC, PLAN

FIRST = {"name": "a", "weight": 0.5, "is_control": True}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "it is blank; say something"),
        (" \t", "it is blank; say something"),
        ("a\nb", "it holds a line break; write it on one line"),
        ("a\u2028b", "it holds a line break; write it on one line"),
        ("a\x1b[2Jb", r"it holds the control character U\+001B; leave it out"),
        ("a\u202eb", r"it holds the control character U\+202E; leave it out"),
        ("a\0b", "it holds a NUL character, which cannot be stored; leave it out"),
    ],
    ids=repr,
)
def test_a_name_that_would_break_a_report_is_refused(name: str, message: str) -> None:
    arms = [FIRST, {"name": name, "weight": 0.5}]
    told: dict[str, dict[str, Any]] = {
        "name": {"name": name},
        "method": {"method": name},
        r"metric\.name": {"metric": METRIC | {"name": name}},
        r"variants\[1\]\.name": {"variants": arms},
    }
    for place, changes in told.items():
        with pytest.raises(InputError, match=f"^f is no plan of an experiment: {place}: {message}"):
            as_plan(PLAN | changes, "f")


def test_only_what_is_wrong_is_told() -> None:
    arms = [FIRST, {"name": " ", "weight": 0.5}]
    with pytest.raises(InputError) as refused:
        as_plan(PLAN | {"variants": arms}, "f")
    assert ";" not in str(refused.value).replace("blank;", "")


def test_events_of_others_may_be_called_whatever_they_are() -> None:
    named = as_plan(PLAN | {"metric": METRIC | {"event_type": "page\tview"}}, "f")
    assert named.metric.event_type == "page\tview"
