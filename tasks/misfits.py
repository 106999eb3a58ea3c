"""What does not fit a model, as people read it: where, what would fit, and what was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeAlias, get_args

from pydantic import BaseModel, ValidationError

Known: TypeAlias = type[BaseModel] | Mapping[str, Any]
"""A model, or the parameters of a function by name, each with its annotation."""

_LONGEST = 60
# Errors of fields that are numbers: what stands there is one, never a secret.
_OF_NUMBERS = frozenset(
    {
        "finite_number",
        "greater_than",
        "greater_than_equal",
        "int_from_float",
        "int_parsing_size",
        "less_than",
        "less_than_equal",
    }
)
_OF_TIMES = frozenset({"datetime_from_date_parsing", "datetime_parsing", "datetime_type"})


class _Place(NamedTuple):
    """Where something does not fit: in words, in which model, and by which one of several.

    ``held`` is the model that belongs there, if one does.
    """

    words: str
    owner: Known | None
    held: Known | None
    choice: tuple[str, str] | None


def problems(error: ValidationError, known: Known | None = None) -> str:
    """What does not fit a model and where, on one line; of the values the numbers only.

    Any other value may be long, or a secret. With what is ``known`` a field that it does not have
    is told with those that it does; where one of several models is meant, the nearest is judged.
    """
    found = error.errors(include_url=False)
    places = [each["loc"] for each in found]
    told = [each for each in found if not _is_told_inside(each, places)]
    placed = [(_place(known, each["loc"]), each) for each in told]
    nearest = _nearest([place for place, _ in placed])
    lines = [
        f"{place.words}: {_message(place, each)}".removeprefix(": ")
        for place, each in placed
        if place.choice is None or nearest[place.choice[0]] == place.choice[1]
    ]
    return "; ".join(lines)


def _is_told_inside(told: Any, places: Sequence[Sequence[int | str]]) -> bool:
    """A list is too short where what it held did not fit; that is told by itself."""
    where = told["loc"]
    return told["type"] == "too_short" and any(
        place[: len(where)] == where != place for place in places
    )


def _message(place: _Place, told: Any) -> str:
    if told["type"] == "extra_forbidden" and place.owner is not None:
        return _unknown_field(place.owner, str(told["loc"][-1]))
    if told["type"] == "model_type" and place.held is not None:
        return f"it is made of fields: {', '.join(_fields(place.held))}"
    if told["type"] in _OF_TIMES:
        return "write a time such as 2026-12-01T08:00:00Z"
    message = str(told["msg"]).removeprefix("Value error, ")
    value = f", not {told['input']}" if told["type"] in _OF_NUMBERS else ""
    return message + value[:_LONGEST]


def _unknown_field(owner: Known, field: str) -> str:
    """Say that it is no field of its owner, and which ones are."""
    names = list(_fields(owner))
    near = get_close_matches(field, names, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"there is no such field; {meant}Known: {', '.join(names) or 'none'}"


def _place(known: Known | None, parts: Sequence[int | str]) -> _Place:
    words, choice = "", None
    inside: list[Known] = [] if known is None else [known]
    owners = inside
    for part in parts:
        if isinstance(part, int):
            words += f"[{part}]"  # an item of a list is what the list holds
            continue
        tried = [each for each in inside if len(inside) > 1 and _is_named(each, part)]
        if tried:  # pydantic names which of several it is about
            choice, inside = (words, part), tried
            continue
        words += f".{part}"
        owners, inside = inside, _inside(inside, part)
    owner, held = (each[0] if len(each) == 1 else None for each in (owners, inside))
    return _Place(words.removeprefix("."), owner, held, choice)


def _is_named(known: Known, part: str) -> bool:
    name = getattr(known, "__name__", "")
    return part == name or part.endswith(f", {name}]")  # with what is called after it


def _inside(owners: Sequence[Known], field: str) -> list[Known]:
    if len(owners) != 1:
        return []
    return _models_in(_fields(owners[0]).get(field))


def _fields(owner: Known) -> Mapping[str, Any]:
    if isinstance(owner, Mapping):
        return owner
    return {name: field.annotation for name, field in owner.model_fields.items()}


def _models_in(annotation: Any) -> list[Known]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _nearest(places: Sequence[_Place]) -> dict[str, str]:
    """Of several models that something may be, the one that it misses in the fewest points."""
    counts = Counter(place.choice for place in places if place.choice)
    return dict(choice for choice, _ in counts.most_common())
