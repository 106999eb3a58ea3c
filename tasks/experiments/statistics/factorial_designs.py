"""Factorial designs: which combinations of levels are tried, and what a fraction cannot tell apart.

A fraction of a two-level design tries 2^(k-p) of the 2^k cells: each generator, as "D=ABC", gives
one more factor the product of others as its level. Every word that the products multiply out to
("ABCD") is constant over the tried cells, so effects whose letters differ by a word are one and the
same contrast: aliases. The resolution is the length of the shortest word; at III a main effect is
an alias of an interaction of two, at IV such interactions are aliases of each other.
Source: Box, Hunter and Hunter (2005), chapter 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations, product
from math import prod
from operator import xor

from tasks.errors import InputError

Cell = tuple[str, ...]
"""A level for each factor, in the order of the factors."""

LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # without I, the identity
LEAST_RESOLUTION = 3
MOST_CELLS = 1024
_LONGEST_ALIAS = 3


@dataclass(frozen=True, slots=True)
class Factor:
    """What is varied, and its levels; the first one is the base that others are held against."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Design:
    """The cells that are tried. Words are of letters: A is the first factor."""

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]
    generators: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # the defining relation; a minus where the product is -1
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of main effects and interactions of two: what looks the same, up to three letters."""

    @property
    def resolution(self) -> int | None:
        """Length of the shortest word; None for a full design."""
        return min((len(word.lstrip("-")) for word in self.words), default=None)

    def letters(self, names: Iterable[str]) -> str:
        """The letters of factors, in order."""
        known = {factor.name: LETTERS[index] for index, factor in enumerate(self.factors)}
        return "".join(sorted(known[name] for name in names))


def full_factorial(factors: Sequence[Factor]) -> Design:
    """Every combination of levels. Raises InputError for factors that cannot be crossed."""
    _check(factors)
    count = prod(len(factor.levels) for factor in factors)
    if count > MOST_CELLS:
        raise InputError(f"{count} cells are more than {MOST_CELLS}; try a fraction of them")
    cells = tuple(product(*(factor.levels for factor in factors)))
    return Design(tuple(factors), cells)


def fractional_factorial(factors: Sequence[Factor], generators: Sequence[str]) -> Design:
    """A fraction of a two-level design.

    Args:
        factors: two levels each; letters A, B, C … (no I) stand for them in order.
        generators: one for each factor beyond the basic ones, as "D=ABC" or "D=-ABC".

    Raises:
        InputError: a generator that cannot be read, a factor without two levels, or a fraction
            in which main effects are aliases of each other (resolution below III).
    """
    _check(factors)
    odd = [factor.name for factor in factors if len(factor.levels) != 2]
    if odd:
        raise InputError(f"a fraction needs two levels of each factor; {', '.join(odd)} has others")
    generated = dict(_parsed(generator, len(factors)) for generator in generators)
    if len(generated) < len(generators) or any(
        mask & other for mask, _ in generated.values() for other in generated
    ):
        raise InputError("each generator must give a factor of its own from basic factors only")
    if 2 ** (len(factors) - len(generated)) > MOST_CELLS:
        raise InputError(f"the fraction has more than {MOST_CELLS} cells; add generators")
    words = _words([(mask ^ of, sign) for of, (mask, sign) in generated.items()])
    design = Design(
        tuple(factors),
        tuple(_cells(factors, generated)),
        tuple(generators),
        tuple(_spelt(*word) for word in words),
        _aliases(len(factors), words),
    )
    if (design.resolution or LEAST_RESOLUTION) < LEAST_RESOLUTION:
        raise InputError(
            f"main effects would be aliases of each other: {' = '.join(('I', *design.words))}; "
            "use generators with more letters, or more basic factors"
        )
    return design


def _check(factors: Sequence[Factor]) -> None:
    names = [factor.name for factor in factors]
    if not 1 <= len(names) <= len(LETTERS):
        raise InputError(f"a design has 1 to {len(LETTERS)} factors, not {len(names)}")
    if len(set(names)) < len(names):
        raise InputError(f"two factors have the same name: {', '.join(names)}")
    for factor in factors:
        if len(factor.levels) < 2 or len(set(factor.levels)) < len(factor.levels):
            raise InputError(f"factor {factor.name!r} needs two or more levels, each named once")


Word = tuple[int, int]
"""A product of factors: a bit for each, and its sign."""


def _parsed(generator: str, count: int) -> tuple[int, Word]:
    """The generated factor, as a bit, and the word that gives its level."""
    name, _, product_of = generator.replace(" ", "").partition("=")
    sign = -1 if product_of.startswith("-") else 1
    letters = product_of.lstrip("+-")
    known = LETTERS[:count]
    is_readable = len(name) == 1 and letters and len(set(letters)) == len(letters)
    if not is_readable or not set(name + letters) <= set(known):
        raise InputError(
            f"generator {generator!r} cannot be read; write it as 'D=ABC' with the letters {known}"
        )
    return _bits(name), (_bits(letters), sign)


def _bits(letters: str) -> int:
    return sum(1 << LETTERS.index(letter) for letter in letters)


def _spelt(mask: int, sign: int = 1) -> str:
    letters = "".join(letter for index, letter in enumerate(LETTERS) if mask >> index & 1)
    return letters if sign > 0 else f"-{letters}"


def _words(generating: Sequence[Word]) -> list[Word]:
    """All products of the generating words, shortest first."""
    found = [
        (reduce(xor, (mask for mask, _ in chosen)), _signed(sign for _, sign in chosen))
        for size in range(1, len(generating) + 1)
        for chosen in combinations(generating, size)
    ]
    return sorted(found, key=lambda word: _order(word[0]))


def _signed(signs: Iterable[int]) -> int:
    return -1 if sum(sign < 0 for sign in signs) % 2 else 1


def _cells(factors: Sequence[Factor], generated: Mapping[int, Word]) -> Iterable[Cell]:
    """The basic factors in every combination, and the others as their generators say."""
    basic = [index for index in range(len(factors)) if 1 << index not in generated]
    for chosen in product((0, 1), repeat=len(basic)):
        high = sum(1 << index for index, level in zip(basic, chosen, strict=True) if level)
        for of, (mask, sign) in generated.items():
            # A level is the product of ±1: high where the number of low ones is even.
            lows = (mask & ~high).bit_count()
            high |= of if (lows % 2 == 0) == (sign > 0) else 0
        yield tuple(factor.levels[high >> index & 1] for index, factor in enumerate(factors))


def _aliases(count: int, words: Sequence[Word]) -> dict[str, tuple[str, ...]]:
    singles = [1 << index for index in range(count)]
    effects = [*singles, *(first | second for first, second in combinations(singles, 2))]
    return {
        _spelt(effect): tuple(
            _spelt(effect ^ mask, sign)
            for mask, sign in sorted(_near(effect, words), key=lambda w: _order(effect ^ w[0]))
        )
        for effect in effects
    }


def _near(effect: int, words: Sequence[Word]) -> list[Word]:
    return [word for word in words if (effect ^ word[0]).bit_count() <= _LONGEST_ALIAS]


def _order(mask: int) -> tuple[int, str]:
    return mask.bit_count(), _spelt(mask)
