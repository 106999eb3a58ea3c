"""What each factor does, and which two change each other's effect."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats

from tasks.errors import InputError
from tasks.experiments.statistics.estimates import Estimate, of_mean
from tasks.experiments.statistics.factorial import factorial_effects
from tasks.experiments.statistics.factorial_designs import (
    Cell,
    Design,
    Factor,
    fractional_factorial,
    full_factorial,
)
from tasks.experiments.statistics.means import welch
from tasks.experiments.statistics.moments import sample_mean
from tasks.experiments.statistics.multiplicity import holm

Floats = NDArray[np.float64]


def on_off(names: str) -> list[Factor]:
    return [Factor(name, ("off", "on")) for name in names]


def drawn(design: Design, seed: int = 3) -> dict[Cell, Floats]:
    """Values of units, with as many in each cell as chance has it."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, len(design.cells))
    return {
        cell: rng.normal(rng.normal(0, 1), 1 + number % 3, int(n))
        for number, (cell, n) in enumerate(zip(design.cells, sizes, strict=True))
    }


def estimates(values: dict[Cell, Floats]) -> dict[Cell, Estimate]:
    return {cell: of_mean(sample_mean(each)) for cell, each in values.items()}


def test_a_factor_with_two_levels_alone_is_two_arms() -> None:
    design = full_factorial(on_off("a"))
    values = drawn(design)
    (effect,) = factorial_effects(estimates(values), design).main
    control, treatment = (sample_mean(values[cell]) for cell in design.cells)
    expected = welch(control, treatment)
    assert effect.comparison.difference == pytest.approx(expected.difference)
    assert effect.comparison.dof == pytest.approx(expected.dof)
    assert effect.p_adjusted == pytest.approx(expected.p_value)


@pytest.mark.parametrize("levels", [(2, 2), (2, 3), (3, 2, 4)])
def test_effects_are_those_of_a_regression_on_unit_rows(levels: tuple[int, ...]) -> None:
    """Independent route: least squares on one dummy a cell, HC2 errors, contrasts by hand."""
    factors = [Factor(f"f{i}", tuple("wxyz"[:count])) for i, count in enumerate(levels)]
    design = full_factorial(factors)
    values = drawn(design)
    y = np.concatenate([values[cell] for cell in design.cells])
    column = np.repeat(np.arange(len(design.cells)), [len(values[cell]) for cell in design.cells])
    fit = sm.OLS(y, np.eye(len(design.cells))[column]).fit(cov_type="HC2")
    found = factorial_effects(estimates(values), design)
    assert len(found.main) == sum(count - 1 for count in levels)
    for effect in (*found.main, *found.interactions):
        expected = fit.t_test(_by_hand(design, effect.factors, effect.levels))
        assert effect.comparison.difference == pytest.approx(expected.effect[0])
        assert effect.comparison.standard_error == pytest.approx(expected.sd[0, 0])
    pairs = sum((a - 1) * (b - 1) for i, a in enumerate(levels) for b in levels[i + 1 :])
    assert len(found.interactions) == pairs


def _by_hand(design: Design, factors: tuple[str, ...], levels: tuple[str, ...]) -> Floats:
    """(-1 at the base, 1 at the level) of each factor, multiplied; averaged over the others."""
    names = [factor.name for factor in design.factors]
    others = prod(len(f.levels) for f in design.factors if f.name not in factors)
    sign = {"w": -1.0}
    contrast = [
        prod(
            1.0 if cell[names.index(name)] == level else sign.get(cell[names.index(name)], 0.0)
            for name, level in zip(factors, levels, strict=True)
        )
        for cell in design.cells
    ]
    return np.array(contrast) / others


def test_one_factor_with_many_levels_finds_what_the_analysis_of_variance_finds() -> None:
    design = full_factorial([Factor("colour", ("red", "green", "blue", "black"))])
    rng = np.random.default_rng(4)
    same = {cell: rng.normal(3, 1, 200) for cell in design.cells}
    apart = same | {("blue",): same["blue",] + 0.6}
    for values, is_found in ((same, False), (apart, True)):
        p_value = stats.f_oneway(*values.values()).pvalue
        found = factorial_effects(estimates(values), design).main
        assert bool(p_value < 0.01) is is_found
        assert [e.levels for e in found if (e.p_adjusted or 1) < 0.01] == [("blue",)] * is_found


def test_each_family_is_corrected_by_itself() -> None:
    design = full_factorial(on_off("abc"))
    found = factorial_effects(estimates(drawn(design)), design)
    for family in (found.main, found.interactions):
        raw = [effect.comparison.p_value or 0 for effect in family]
        assert [effect.p_adjusted for effect in family] == pytest.approx(holm(raw))


def test_levels_are_averaged_with_equal_weights_however_many_units_they_have() -> None:
    design = full_factorial(on_off("ab"))
    cells: dict[Cell, Estimate] = {
        ("off", "off"): Estimate(1_000, 1.0, 1.0),
        ("off", "on"): Estimate(10, 3.0, 1.0),
        ("on", "off"): Estimate(10, 1.0, 1.0),
        ("on", "on"): Estimate(1_000, 3.0, 1.0),
    }
    found = factorial_effects(cells, design)
    assert [(each.factor, each.level, each.estimate.value) for each in found.levels] == [
        ("a", "off", 2.0),
        ("a", "on", 2.0),
        ("b", "off", 1.0),
        ("b", "on", 3.0),
    ]
    assert found.main[0].comparison.difference == 0.0  # pooled over b it would be nearly 2
    assert found.main[1].comparison.lift == 2.0
    assert found.interactions[0].comparison.difference == 0.0
    assert found.interactions[0].comparison.lift is None


def test_what_needs_an_empty_cell_is_unknown_and_the_rest_is_not() -> None:
    design = full_factorial([Factor("a", ("x", "y", "z")), Factor("b", ("off", "on"))])
    values = drawn(design)
    del values["z", "on"]
    found = factorial_effects(estimates(values), design)
    unknown = {(e.factors, e.levels) for e in (*found.main, *found.interactions) if e.missing}
    assert unknown == {(("a",), ("z",)), (("b",), ("on",)), (("a", "b"), ("z", "on"))}
    for effect in (*found.main, *found.interactions):
        is_known = not effect.missing
        assert (effect.comparison.difference is not None) is is_known
        assert (effect.p_adjusted is not None) is is_known
        assert effect.missing in {(), (("z", "on"),)}


def test_a_half_fraction_says_what_it_cannot_tell_apart() -> None:
    design = fractional_factorial(on_off("abcd"), ["D=ABC"])
    assert (design.words, design.resolution, len(design.cells)) == (("ABCD",), 4, 8)
    assert design.aliases["A"] == ("BCD",)
    assert design.aliases["AB"] == ("CD",)
    found = factorial_effects(estimates(drawn(design)), design)
    assert [effect.factors for effect in found.main] == [("a",), ("b",), ("c",), ("d",)]
    assert [(e.factors, e.aliases) for e in found.interactions] == [
        (("a", "b"), ("CD",)),
        (("a", "c"), ("BD",)),
        (("a", "d"), ("BC",)),
    ]


def test_a_saturated_fraction_leaves_interactions_unknown() -> None:
    """Seven factors in 8 cells: 2^(7-4), resolution III (Box, Hunter and Hunter 2005)."""
    design = fractional_factorial(on_off("abcdefg"), ["D=AB", "E=AC", "F=BC", "G=ABC"])
    assert (design.resolution, len(design.cells), len(design.words)) == (3, 8, 15)
    assert design.aliases["A"][:3] == ("BD", "CE", "FG")
    found = factorial_effects(estimates(drawn(design)), design)
    assert all(effect.comparison.p_value is not None for effect in found.main)
    assert all(effect.p_adjusted is None for effect in found.interactions)


@pytest.mark.parametrize("generators", [["D=ABC"], ["D=-ABC"], ["D = AB"]])
def test_a_fraction_is_the_cells_where_its_words_are_constant(generators: list[str]) -> None:
    design = fractional_factorial(on_off("abcd"), generators)
    sign = {"off": -1, "on": 1}
    for word in design.words:
        products = {
            prod(sign[cell["ABCD".index(letter)]] for letter in word.lstrip("-"))
            for cell in design.cells
        }
        assert products == {-1 if word.startswith("-") else 1}
    assert len(set(design.cells)) == 8


def test_a_fraction_finds_the_effects_of_the_whole_where_its_aliases_are_nothing() -> None:
    whole = full_factorial(on_off("abcd"))
    effect = {"a": 1.0, "c": -0.5, "d": 0.25}
    values = {
        cell: sum(
            effect.get(name, 0) for name, level in zip("abcd", cell, strict=True) if level == "on"
        )
        + 2.0 * (cell[:2] == ("on", "on"))
        for cell in whole.cells
    }
    half = fractional_factorial(on_off("abcd"), ["D=ABC"])
    cells = {cell: Estimate(50, values[cell], 1.0) for cell in half.cells}
    found = factorial_effects(cells, half)
    differences = [each.comparison.difference for each in found.main]
    assert differences == pytest.approx([2.0, 1.0, -0.5, 0.25])
    assert [each.comparison.difference for each in found.interactions] == pytest.approx([2, 0, 0])


@pytest.mark.parametrize(
    ("names", "generators", "message"),
    [
        ("abc", ["C=A"], "aliases of each other: I = AC"),
        ("abcde", ["D=AB", "E=AB"], "aliases of each other"),
        ("abcd", ["D=AD"], "a factor of its own"),
        ("abcd", ["C=AD", "D=AB"], "a factor of its own"),
        ("abcd", ["D=ABC", "D=AB"], "a factor of its own"),
        ("abcd", ["E=AB"], "cannot be read"),
        ("abcd", ["D"], "cannot be read"),
        ("abcd", ["D=AAB"], "cannot be read"),
        ("aa", [], "same name"),
        ("", [], "1 to 25 factors"),
    ],
)
def test_a_fraction_that_cannot_be_used_is_refused(
    names: str, generators: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fractional_factorial(on_off(names), generators)


def test_designs_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="two or more levels"):
        full_factorial([Factor("a", ("only",))])
    with pytest.raises(InputError, match="two levels of each factor; b has others"):
        fractional_factorial([*on_off("a"), Factor("b", tuple("xyz"))], ["B=A"])
    with pytest.raises(InputError, match="more than 1024; try a fraction"):
        full_factorial(on_off("abcdefghijk"))
    with pytest.raises(InputError, match="no cell off, maybe"):
        factorial_effects({("off", "maybe"): Estimate(9, 1, 1)}, full_factorial(on_off("ab")))


def test_all_cells_are_combinations_of_levels() -> None:
    design = full_factorial([Factor("a", ("x", "y")), Factor("b", ("u", "v", "w"))])
    assert set(design.cells) == set(product("xy", "uvw"))
    assert design.resolution is None
