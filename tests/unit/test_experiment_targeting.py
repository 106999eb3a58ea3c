from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.errors import InputError
from tasks.experiments.assignment.targeting import TargetRule, matches


def rule(op: str, value: Any = None, attribute: str = "a") -> TargetRule:
    return TargetRule.model_validate({"attribute": attribute, "op": op, "value": value})


@pytest.mark.parametrize(
    ("op", "value", "held", "expected"),
    [
        ("eq", "DE", "DE", True),
        ("eq", "DE", "de", False),
        ("eq", 1, 1.0, True),
        ("eq", 1, "1", False),
        ("eq", 1, True, False),
        ("eq", 0.1, 0.1, True),
        ("eq", 10**23, 1e23, True),  # the decimals that JSON spells, not the nearest doubles
        ("eq", 2**53 + 1, float(2**53), False),
        ("eq", 0, -0.0, True),
        ("eq", "é", "e\u0301", False),  # told apart by code points: nothing is normalised
        ("eq", "x", ["x"], False),
        ("ne", "DE", "AT", True),
        ("ne", 1, "1", True),
        ("ne", "x", {"x": 1}, True),
        ("in", ["DE", "AT"], "AT", True),
        ("in", [1, 2], True, False),
        ("not_in", ["DE", "AT"], "CH", True),
        ("not_in", ["DE", "AT"], "AT", False),
        ("gt", 5, 5, False),
        ("ge", 5, 5.0, True),
        ("lt", 5, 4.999, True),
        ("le", 5, "4", False),
        ("gt", "2026-01-31", "2026-02-01", True),
        ("gt", "Z", "a", True),  # by code point, whatever the language
        ("gt", "\uffff", "😀", True),  # not by UTF-16
        ("starts_with", "Zo", "Zoë", True),
        ("starts_with", "Zo", 7, False),
        ("exists", None, False, True),
        ("exists", None, {}, True),
    ],
)
def test_a_rule_holds_or_does_not(op: str, value: Any, held: Any, expected: bool) -> None:
    assert matches([rule(op, value)], {"a": held}) is expected


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "le", "starts_with"])
@pytest.mark.parametrize("attributes", [{}, {"a": None}, {"b": "x"}])
def test_a_missing_attribute_fails_every_rule(op: str, attributes: dict[str, Any]) -> None:
    assert not matches([rule(op, "x")], attributes)
    assert not matches([rule("not_in", ["x"])], attributes)
    assert not matches([rule("exists")], attributes)


def test_all_rules_must_hold_and_without_rules_everybody_is_targeted() -> None:
    rules = [rule("eq", "DE"), rule("ge", 18, "age")]
    assert matches(rules, {"a": "DE", "age": 18})
    assert not matches(rules, {"a": "DE", "age": 17})
    assert matches([], {})


@pytest.mark.parametrize(
    "broken",
    [
        {"op": "like", "value": "x"},
        {"op": "eq"},
        {"op": "eq", "value": ["x"]},
        {"op": "eq", "value": float("nan")},
        {"op": "eq", "value": {"x": 1}},
        {"op": "in", "value": "DE"},
        {"op": "in", "value": []},
        {"op": "in", "value": [None]},
        {"op": "gt", "value": True},
        {"op": "starts_with", "value": 1},
        {"op": "exists", "value": True},
        {"op": "eq", "value": "a\0b"},
        {"op": "eq", "value": "\ud800"},
        {"op": "exists", "attribute": ""},
        {"op": "exists", "surprise": 1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TargetRule.model_validate({"attribute": "a"} | broken)


@pytest.mark.parametrize("held", [float("nan"), float("inf"), object(), b"x"])
def test_an_attribute_that_json_cannot_hold_is_refused(held: Any) -> None:
    with pytest.raises(InputError, match="JSON value"):
        matches([rule("eq", 1)], {"a": held})
