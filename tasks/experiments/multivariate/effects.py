"""What each factor of a multivariate experiment does to a metric, and how sure that is. Pure.

Two ways to be sure, as for arms. *This look alone*: t tests, by Holm over the effects of a family
(all main effects of the metric, or all interactions). *At every look*: confidence sequences, by
Bonferroni over the same family; these may be read as often as one likes, and only they call an
effect found. No winner hangs on either: arms win, each against the control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.experiments.decision.evidence import Measured
from tasks.experiments.multivariate.cells import cell_estimates, problem_of
from tasks.experiments.statistics.confidence_sequences import confidence_sequence
from tasks.experiments.statistics.estimates import Estimate
from tasks.experiments.statistics.factorial import FactorEffect, factorial_effects
from tasks.experiments.statistics.factorial_designs import LETTERS, Cell, Design


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class LevelFigures(_Figures):
    """One level of a factor: the mean over its cells, which count alike."""

    factor: str
    level: str
    is_base: bool
    units: int  # with a value
    value: float | None


class EffectFigures(_Figures):
    """A main effect, or an interaction of two: against the base levels."""

    factors: tuple[str, ...]
    levels: tuple[str, ...]
    difference: float | None = None
    standard_error: float | None = None
    lower: float | None = None  # of this effect and look alone
    upper: float | None = None
    lift: float | None = None  # of main effects
    p_value: float | None = None
    adjusted_p_value: float | None = None  # by Holm; of this look alone
    sequential_lower: float | None = None  # of all effects of the family, at every look
    sequential_upper: float | None = None
    sequential_p_value: float | None = None
    outcome: str = "unknown"  # better, harm, found (of interactions), open, unknown
    same_as: tuple[str, ...] = ()  # what it cannot be told apart from, by the factors' names
    missing: tuple[str, ...] = ()  # arms that it needs and that have too few units

    @property
    def name(self) -> str:
        """As "price: high", or "price: high × color: blue"."""
        parts = zip(self.factors, self.levels, strict=True)
        return " × ".join(f"{factor}: {level}" for factor, level in parts)


class MetricEffects(_Figures):
    """One metric by factors; ``problem`` says why it has no figures."""

    name: str
    role: str
    kind: str
    is_higher_better: bool = True
    alpha: float
    units: int = 0
    problem: str = ""
    levels: tuple[LevelFigures, ...] = ()
    main: tuple[EffectFigures, ...] = ()
    interactions: tuple[EffectFigures, ...] = ()


def metric_effects(
    measured: Measured,
    design: Design,
    cell_names: Mapping[Cell, str],
    *,
    planned_units: int,
    minimum_per_arm: int,
) -> MetricEffects:
    """Work out the effects of the factors on one metric.

    Args:
        measured: the metric in every arm.
        design: the design.
        cell_names: the arm of each cell.
        planned_units: with a value, over all arms: where the sequences are narrowest.
        minimum_per_arm: units with a value before anything is called found.
    """
    problem = problem_of(measured)
    if not problem:
        try:
            with np.errstate(all="ignore"):
                return _told(measured, design, cell_names, planned_units, minimum_per_arm)
        except (ArithmeticError, ValueError):
            problem = "its figures are larger or smaller than a number can be"
    return MetricEffects(**_shared(measured), problem=problem)


def _told(
    measured: Measured,
    design: Design,
    cell_names: Mapping[Cell, str],
    planned_units: int,
    minimum_per_arm: int,
) -> MetricEffects:
    by_arm = cell_estimates(measured)
    cells = {cell: by_arm[name] for cell, name in cell_names.items() if _is_known(by_arm[name])}
    units = {arm.name: arm.n for arm in measured.arms}
    found = factorial_effects(cells, design, measured.alpha)
    is_early = min(units.values()) < max(minimum_per_arm, 2)
    told = _Teller(measured, design, cell_names, sum(units.values()), planned_units, is_early)
    return MetricEffects(
        **_shared(measured),
        units=sum(units.values()),
        levels=tuple(
            LevelFigures(
                factor=each.factor,
                level=each.level,
                is_base=each.level == _base(design, each.factor),
                units=sum(units[name] for name in told.arms_at(each.factor, each.level)),
                value=None if isnan(each.estimate.value) else each.estimate.value,
            )
            for each in found.levels
        ),
        main=told.family(found.main),
        interactions=told.family(found.interactions),
    )


def _shared(measured: Measured) -> dict[str, Any]:
    told = ("name", "role", "kind", "is_higher_better", "alpha")
    return {name: getattr(measured, name) for name in told}


def _is_known(estimate: Estimate) -> bool:
    return estimate.n > 0 and not isnan(estimate.value)


def _base(design: Design, factor: str) -> str:
    return next(each.levels[0] for each in design.factors if each.name == factor)


@dataclass(frozen=True, slots=True)
class _Teller:
    """What the figures of all effects on a metric share."""

    measured: Measured
    design: Design
    cell_names: Mapping[Cell, str]
    units: int
    planned_units: int
    is_early: bool

    def arms_at(self, factor: str, level: str) -> list[str]:
        """The arms that have this level."""
        place = [each.name for each in self.design.factors].index(factor)
        return [name for cell, name in self.cell_names.items() if cell[place] == level]

    def family(self, effects: Sequence[FactorEffect]) -> tuple[EffectFigures, ...]:
        """Effects that share one error."""
        return tuple(self._figures(effect, len(effects)) for effect in effects)

    def _figures(self, effect: FactorEffect, size: int) -> EffectFigures:
        compared, alpha = effect.comparison, self.measured.alpha / size
        always = confidence_sequence(compared, self.units, alpha, self.planned_units)
        is_told = not self.is_early and always.p_value is not None
        p_value = min(1.0, size * (always.p_value or 0.0)) if is_told else None
        return EffectFigures(
            factors=effect.factors,
            levels=effect.levels,
            difference=compared.difference,
            standard_error=compared.standard_error,
            lower=compared.lower,
            upper=compared.upper,
            lift=compared.lift,
            p_value=compared.p_value,
            adjusted_p_value=effect.p_adjusted,
            sequential_lower=always.lower if is_told else None,
            sequential_upper=always.upper if is_told else None,
            sequential_p_value=p_value,
            outcome=self._outcome(effect, p_value),
            same_as=tuple(named(self.design, alias) for alias in effect.aliases),
            missing=tuple(self.cell_names[cell] for cell in effect.missing),
        )

    def _outcome(self, effect: FactorEffect, p_value: float | None) -> str:
        difference = effect.comparison.difference
        if difference is None:
            return "unknown"
        if p_value is None or p_value > self.measured.alpha:
            return "open"
        if len(effect.factors) > 1:
            return "found"
        return "better" if (difference > 0) == self.measured.is_higher_better else "harm"


def named(design: Design, alias: str) -> str:
    """Letters of factors as their names: "-BC" as "-(color × size)"."""
    letters = alias.lstrip("-")
    name = " × ".join(_names(design, letters))
    return f"-({name})" if alias.startswith("-") else name


def _names(design: Design, letters: Iterable[str]) -> list[str]:
    return [design.factors[LETTERS.index(letter)].name for letter in letters]
