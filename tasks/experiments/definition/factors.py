"""Multivariate designs: factors and their levels, and the arms that a design makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from math import prod
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from tasks.errors import InputError
from tasks.experiments.definition.arms import VariantPlan
from tasks.experiments.definition.words import Document, Name, Planned
from tasks.experiments.statistics.factorial_designs import (
    Cell,
    Design,
    Factor,
    fractional_factorial,
    full_factorial,
)

MOST_ARMS = 100
_LONGEST = 255


def _part_of_a_name(text: str) -> str:
    """Refuse what would make the name of a cell ambiguous."""
    if "," in text or "=" in text:
        raise ValueError(
            "it holds ',' or '=', which separate the parts of a variant's name; leave them out"
        )
    return text


Part = Annotated[Name, AfterValidator(_part_of_a_name)]
Generator = Annotated[Name, AfterValidator(lambda text: text.replace(" ", ""))]


class FactorPlan(Planned):
    """What is varied in a multivariate design."""

    name: Part
    levels: Annotated[
        tuple[Part, ...],
        Field(min_length=2, max_length=MOST_ARMS, description="the first is what is there now"),
    ]
    configuration: dict[Name, Document] = Field(
        default_factory=dict, description="settings of a level, for the arms that have it"
    )


def design_of(factors: Sequence[FactorPlan], generators: Sequence[str]) -> Design:
    """The cells to try: all, or the fraction that the generators say; ValueError for none."""
    named = tuple(Factor(factor.name, factor.levels) for factor in factors)
    try:
        return _design(named, tuple(generators))
    except InputError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=64)
def _design(factors: tuple[Factor, ...], generators: tuple[str, ...]) -> Design:
    if generators:
        design = fractional_factorial(factors, generators)
    else:
        count = prod(len(factor.levels) for factor in factors)
        if count > MOST_ARMS:
            raise InputError(f"{count} cells are more than {MOST_ARMS} arms; {_fewer(factors)}")
        design = full_factorial(factors)
    if len(design.cells) > MOST_ARMS:
        raise InputError(
            f"{len(design.cells)} cells are more than {MOST_ARMS} arms; say one generator more"
        )
    return design


def _fewer(factors: Sequence[Factor]) -> str:
    """What makes fewer cells of these factors."""
    if all(len(factor.levels) == 2 for factor in factors):
        return "say generators, for a fraction"
    return "leave out levels or factors (a fraction needs two levels of each)"


def checked_arms(
    arms: Sequence[VariantPlan],
    factors: Sequence[FactorPlan],
    design: Design,
    reserved: frozenset[str],
) -> tuple[VariantPlan, ...]:
    """The arms of the design: as told, or one for each cell. ValueError where they do not fit.

    Arms that are told keep their settings, also where a level has others.
    """
    check_factors(factors, design, reserved)
    if not arms:
        return arms_of(factors, design)
    check_cells(arms, design)
    return tuple(arms)


def check_factors(factors: Sequence[FactorPlan], design: Design, reserved: frozenset[str]) -> None:
    """Raise ValueError for names that are taken, levels that are none, and a missing base."""
    for factor in factors:
        if factor.name in reserved:
            raise ValueError(f"a factor cannot be called {factor.name!r}: a dimension is")
        unknown = sorted(set(factor.configuration) - set(factor.levels))
        if unknown:
            raise ValueError(
                f"factor {factor.name!r} has no level {unknown[0]!r}; "
                f"{_meant(unknown[0], factor.levels)}levels: {', '.join(factor.levels)}"
            )
    base = base_cell(design)
    if base not in design.cells:
        wrong = ", ".join(_turned(each) for each in design.generators if _is_off_base(each))
        raise ValueError(
            f"the fraction leaves out the base, {cell_name(design, base)}, which is the control; "
            f"write {wrong}"
        )
    longest = max((cell_name(design, cell) for cell in design.cells), key=len)
    if len(longest) > _LONGEST:
        raise ValueError(f"the arm {longest[:40]}… has a name of more than {_LONGEST} characters")


def base_cell(design: Design) -> Cell:
    """The first level of every factor: what users have now."""
    return tuple(factor.levels[0] for factor in design.factors)


def cell_name(design: Design, cell: Cell) -> str:
    """What the arm of a cell is called, as "price=low,color=red"."""
    parts = zip(design.factors, cell, strict=True)
    return ",".join(f"{factor.name}={level}" for factor, level in parts)


def arms_of(factors: Sequence[FactorPlan], design: Design) -> tuple[VariantPlan, ...]:
    """One arm for each cell, with equal weights; the base is the control."""
    return tuple(
        VariantPlan(
            name=cell_name(design, cell),
            weight=1 / len(design.cells),
            is_control=cell == base_cell(design),
            config_overrides=_configuration(factors, cell),
        )
        for cell in design.cells
    )


def levels_of(design: Design) -> list[dict[str, str]]:
    """Which level of each factor each arm has, a row for each pair."""
    return [
        {"variant": cell_name(design, cell), "factor": factor.name, "level": level}
        for cell in design.cells
        for factor, level in zip(design.factors, cell, strict=True)
    ]


def check_cells(arms: Sequence[VariantPlan], design: Design) -> None:
    """Raise ValueError unless the arms are the cells of the design, the base the control."""
    cells = [cell_name(design, cell) for cell in design.cells]
    names = {arm.name for arm in arms}
    unknown = sorted(names - set(cells))
    if unknown:
        hint = _meant(unknown[0], cells)
        raise ValueError(f"{unknown[0]!r} is no cell of the design; {hint}leave variants out")
    missing = [cell for cell in cells if cell not in names]
    if missing:
        raise ValueError(f"the design has an arm {missing[0]!r} too; leave variants out")
    base = cell_name(design, base_cell(design))
    if not any(arm.is_control and arm.name == base for arm in arms):
        raise ValueError(f"the control of the design is its base, {base!r}")


def _configuration(factors: Sequence[FactorPlan], cell: Cell) -> dict[str, JsonValue]:
    """The settings of the cell's levels together; ValueError where two say otherwise."""
    told: dict[str, JsonValue] = {}
    for factor, level in zip(factors, cell, strict=True):
        told = _merged(told, factor.configuration.get(level, {}), factor.name)
    return told


def _merged(
    told: dict[str, JsonValue], more: dict[str, JsonValue], factor: str
) -> dict[str, JsonValue]:
    merged = dict(told)
    for name, value in more.items():
        known = told.get(name, value)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[name] = _merged(known, value, factor)
        elif known != value:
            raise ValueError(
                f"factor {factor!r} sets {name!r}, which another factor sets otherwise"
            )
        else:
            merged[name] = value
    return merged


def _meant(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _is_off_base(generator: str) -> bool:
    """At the base every basic factor is at -1, so an odd product, or a turned even one, is too."""
    letters = generator.partition("=")[2]
    is_even = len(letters.lstrip("+-")) % 2 == 0
    return is_even is not letters.startswith("-")


def _turned(generator: str) -> str:
    name, _, letters = generator.partition("=")
    turned = letters[1:] if letters.startswith("-") else "-" + letters.lstrip("+")
    return f"{name}={turned}"
