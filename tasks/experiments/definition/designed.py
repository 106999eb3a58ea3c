"""A multivariate design in words: its factors, and what a fraction of it cannot tell apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import prod

from tasks import markdown
from tasks.experiments.definition.factors import FactorPlan
from tasks.experiments.statistics.factorial_designs import LETTERS, Design

_ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}
_LIMITS = {
    3: "a main effect is one figure with interactions of two",
    4: "interactions of two are one figure with each other",
}
_MOST = 12  # aliases that are listed


def design_parts(factors: Sequence[FactorPlan], design: Design) -> list[str]:
    """The factors as a table, and what the design is."""
    rows = [
        [
            letter,
            factor.name,
            ", ".join(factor.levels),
            json.dumps(factor.configuration) if factor.configuration else "",
        ]
        for letter, factor in zip(LETTERS, factors, strict=False)
    ]
    head = ["", "factor", "levels, the base first", "settings"]
    return [markdown.table(head, rows), design_words(design)]


def design_words(design: Design) -> str:
    """How many of the cells are tried; of a fraction its resolution and its aliases."""
    every = prod(len(factor.levels) for factor in design.factors)
    if not design.generators:
        return f"All {every} cells are tried: no two effects are confused."
    resolution = design.resolution or 0
    limit = _LIMITS.get(resolution, "main effects and interactions of two stand alone")
    aliases = list(confused(design))
    listed = "; ".join(aliases[:_MOST]) + (" …" if len(aliases) > _MOST else "")
    found = [
        f"{len(design.cells)} of {every} cells are tried, by {', '.join(design.generators)}.",
        f"Resolution {_ROMAN.get(resolution, resolution)}: {limit}.",
        f"Not told apart: {listed}." if aliases else "",
    ]
    return " ".join(part for part in found if part)


def confused(design: Design) -> Iterator[str]:
    """Main effects and interactions of two that are one figure with others, as "A = -BC"."""
    told: set[str] = set()
    for effect, aliases in design.aliases.items():
        near = [alias for alias in aliases if len(alias.lstrip("-")) <= 2]
        if near and effect not in told:
            told.update(alias.lstrip("-") for alias in near)
            yield " = ".join((effect, *near))
