"""Whom an experiment is for: rules on a unit's attributes, judged alike here and in SQL.

``matches`` and the SQL function ``matches_target(rules, attributes)`` give the same answer:

- all rules must hold; without rules everybody is targeted;
- an attribute that is missing or null fails every rule;
- values of different JSON types are never equal and have no order: ``1`` is not ``"1"``;
- numbers compare as decimals, text by code point (so ISO dates compare as dates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from tasks.errors import InputError

Operator = Literal["eq", "ne", "in", "not_in", "gt", "ge", "lt", "le", "exists", "starts_with"]


def _storable(text: str) -> str:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("Postgres cannot store NUL characters and lone surrogates")
    return text


_Text = Annotated[StrictStr, AfterValidator(_storable)]
_Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Scalar = StrictBool | StrictInt | _Number | _Text


class TargetRule(BaseModel):
    """One condition on one attribute of a unit, such as ``country in ["DE", "AT"]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: Annotated[_Text, Field(min_length=1, max_length=255)]
    op: Operator
    value: Annotated[
        Scalar | tuple[Scalar, ...] | None,
        Field(description="a list for in and not_in, nothing for exists"),
    ] = None

    @model_validator(mode="after")
    def _value_fits_operator(self) -> TargetRule:
        wanted, fits = _FITTING[self.op]
        if not fits(self.value):
            raise ValueError(f"the value of {self.op!r} must be {wanted}, not {self.value!r}")
        return self


def matches(rules: Sequence[TargetRule], attributes: Mapping[str, Any]) -> bool:
    """Tell whether a unit with these attributes is targeted: all rules hold.

    Attributes are JSON values by name. Raises InputError for a value that JSON cannot hold.
    """
    return all(_holds(rule, attributes.get(rule.attribute)) for rule in rules)


def _holds(rule: TargetRule, held: Any) -> bool:
    if held is None:
        return False
    if rule.op == "exists":
        return True
    if rule.op == "starts_with":
        return isinstance(held, str) and held.startswith(str(rule.value))
    if rule.op in {"gt", "ge", "lt", "le"}:
        return _is_ordered(rule.op, _comparable(held), _comparable(rule.value))
    wanted = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    is_among = _comparable(held) in [_comparable(each) for each in wanted]
    return is_among is (rule.op in {"eq", "in"})


def _is_ordered(op: str, held: tuple[str, Any], wanted: tuple[str, Any]) -> bool:
    if held[0] != wanted[0]:
        return False
    if op in {"gt", "ge"}:
        return bool(held[1] > wanted[1] or (op == "ge" and held[1] == wanted[1]))
    return bool(held[1] < wanted[1] or (op == "le" and held[1] == wanted[1]))


def _comparable(value: Any) -> tuple[str, Any]:
    """The value beside its JSON type; a number as the decimal that its JSON spells."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float) and isfinite(value):
        return "number", Decimal(repr(value))
    if isinstance(value, str):
        return "string", value
    if isinstance(value, list | tuple | Mapping):
        return "composite", None  # never equal to a scalar, and rules name scalars only
    raise InputError(f"an attribute must be a JSON value, not {value!r}")


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, tuple)


def _is_ordered_value(value: Any) -> bool:
    return _is_scalar(value) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0


_FITTING = {
    **dict.fromkeys(("eq", "ne"), ("text, a number or a boolean", _is_scalar)),
    **dict.fromkeys(("gt", "ge", "lt", "le"), ("a number or text", _is_ordered_value)),
    **dict.fromkeys(("in", "not_in"), ("a list of at least one value", _is_list)),
    "starts_with": ("text", lambda value: isinstance(value, str)),
    "exists": ("left out", lambda value: value is None),
}
