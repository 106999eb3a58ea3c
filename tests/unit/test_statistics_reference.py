"""Every reference case of a kind that is answered must come out within its tolerance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reference import ANSWERS, answer, is_close

FOLDER = Path(__file__).parent.parent.joinpath("cases")
CASES = [
    case
    for file in ("experiment_cases.json", "canary_cases.json")
    for case in json.loads(FOLDER.joinpath(file).read_text("utf-8"))["cases"]
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_reference_case_comes_out_within_its_tolerance(case: dict[str, Any]) -> None:
    answered = answer(case)
    wrong = {
        field: (answered.get(field, "not answered"), expected)
        for field, expected in case["expected"].items()
        if not is_close(answered.get(field, "not answered"), expected, case["tolerance"])
    }
    assert wrong == {}


def test_no_case_is_left_out() -> None:
    assert {case["kind"] for case in CASES} <= set(ANSWERS)
    assert len({case["id"] for case in CASES}) == len(CASES) == 179 + 30
