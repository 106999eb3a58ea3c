"""Did the traffic split as the allocation log says? The tests of a sample ratio mismatch (SRM).

They are made at every look, mostly hourly. A chi-square test at 0.001 would alarm in 2 % of sound
experiments within two weeks; at ``FIXED_ALPHA`` the fixed tests and the sequential one together
stay below 0.5 % (benchmarks/srm.py), and still find a split of 51/49 by 100,000 units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from tasks.experiments.quality.facts import ExperimentFacts, MissingFacts, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.ratio import Split, is_alike
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown
from tasks.experiments.statistics.multiplicity import holm

FIXED_ALPHA = 2e-5
"""Of each fixed test at each look."""

SEQUENTIAL_ALPHA = 1e-3
"""Of the sequential test over all looks together."""

_Units: TypeAlias = Mapping[tuple[int, str], int]  # by epoch and arm

_FIND_OUT = (
    "Something adds or drops units of one arm (redirects, crashes, bots, logging, a filter): find "
    "it before trusting any difference"
)


@quality_checks.register("srm")
def srm(facts: ExperimentFacts) -> QualityCheck:
    """Units assigned to each arm against the allocation log, as of now."""
    split = assigned_split(facts)
    return _judge("units assigned", facts, split, split.fixed_p_value(), FIXED_ALPHA)


@quality_checks.register("srm-sequential")
def srm_sequential(facts: ExperimentFacts) -> QualityCheck:
    """The same by a test that may be read at any number of looks."""
    split = assigned_split(facts)
    return _judge("units assigned", facts, split, split.sequential_p_value(), SEQUENTIAL_ALPHA)


@quality_checks.register("srm-values")
def srm_values(facts: ExperimentFacts) -> QualityCheck:
    """Units with a value of the primary metric: where arms lose units unequally, they differ."""
    split = _split(facts, _units(facts, "n"))
    if split.total == 0:
        return unknown("no unit has a value of the primary metric yet")
    return _judge("units with a value", facts, split, split.fixed_p_value(), FIXED_ALPHA)


@quality_checks.register("srm-dimensions")
def srm_dimensions(facts: ExperimentFacts) -> QualityCheck:
    """Units assigned within each level of each dimension, Holm over the levels."""
    splits = _level_splits(facts)
    tested = {
        level: (split, p_value)
        for level, split in splits.items()
        if (p_value := split.fixed_p_value()) is not None
    }
    if not tested:
        return passed()
    adjusted = dict(zip(tested, holm([p_value for _, p_value in tested.values()]), strict=True))
    worst = min(adjusted, key=adjusted.__getitem__)
    split, _ = tested[worst]
    name = f"units assigned where {worst[0]} is {worst[1]!r}"
    return _judge(name, facts, split, adjusted[worst], FIXED_ALPHA, levels=len(tested))


@quality_checks.register("closed-arm")
def closed_arm(facts: ExperimentFacts) -> QualityCheck:
    """Units that an arm got in an epoch in which it had no weight; those from before may stay."""
    weights = _weights(facts)
    strayed = {
        (epoch, arm): units
        for (epoch, arm), units in _units(facts, "assigned").items()
        if units > 0 and weights.get(epoch, {}).get(arm, 0.0) <= 0
    }
    if not strayed:
        return passed()
    listed = ", ".join(f"{arm} {units} in epoch {epoch}" for (epoch, arm), units in strayed.items())
    message = (
        f"an arm got units while its weight was 0: {listed}. Whatever assigned them does not "
        "follow the allocation; find it, and start again without these units"
    )
    return failed(message, units=sum(strayed.values()))


def assigned_split(facts: ExperimentFacts) -> Split:
    """Units assigned by epoch and arm, with the weights; raises MissingFacts without units."""
    split = _split(facts, _units(facts, "assigned"))
    if split.total == 0:
        raise MissingFacts("no unit is assigned yet")
    return split


def _judge(
    what: str,
    facts: ExperimentFacts,
    split: Split,
    p_value: float | None,
    alpha: float,
    **more: Figure,
) -> QualityCheck:
    if p_value is None:
        return passed(f"{what}: only one arm has traffic, so there is no split")
    figures: dict[str, Figure] = {"p_value": p_value, "alpha": alpha, "units": split.total, **more}
    if p_value >= alpha:
        return passed(**figures)
    seen = ", ".join(
        f"{arm} {units} (planned {meant:.0f})"
        for arm, units, meant in zip(_arms(facts), split.observed, split.expected, strict=True)
        if meant > 0
    )
    message = f"{what} did not split as planned: {seen}; p = {p_value:.2g}, below {alpha:g}"
    return failed(f"{message}. {_FIND_OUT}", **figures)


def _arms(facts: ExperimentFacts) -> list[str]:
    return [arm.name for arm in need(facts.variants)]


def _weights(facts: ExperimentFacts) -> dict[int, dict[str, float]]:
    """Epoch, then arm, to weight."""
    if not facts.weights:
        raise MissingFacts("the allocation log is empty, so no split was planned; start it anew")
    return facts.weights


def _units(facts: ExperimentFacts, counted: Literal["assigned", "n"]) -> _Units:
    """Units by epoch and arm; of the whole arms where one split has held."""
    weights = _weights(facts)
    if need(facts.epoch_counts):
        found = _by_epoch(facts, counted)
        known = found if counted == "assigned" else _by_epoch(facts, "assigned")
        _require_known({epoch for (epoch, _), units in known.items() if units}, weights)
        return found
    whole = facts.whole_arms(facts.primary.name)
    if not whole:
        raise MissingFacts(f"metric {facts.primary.name!r} has no sufficient statistics yet")
    if not is_alike(_matrix(facts, weights)):
        if not any(row.assigned for row in whole.values()):
            raise MissingFacts("no unit is assigned yet")
        raise MissingFacts(
            "the split has changed, and which units came before and after is not known"
        )
    first = next(iter(weights))
    return {(first, arm): getattr(row, counted) for arm, row in whole.items()}


def _by_epoch(facts: ExperimentFacts, counted: Literal["assigned", "n"]) -> _Units:
    return {
        (epoch, arm.arm): units
        for arm in need(facts.epoch_counts)
        for epoch, units in zip(arm.epochs, getattr(arm, counted), strict=True)
    }


def _require_known(epochs: Iterable[int], weights: Mapping[int, object]) -> None:
    strange = sorted(set(epochs) - set(weights))
    if strange:
        raise MissingFacts(
            "units were assigned in epochs that the allocation log lacks: "
            f"{', '.join(map(str, strange))}"
        )


def _split(facts: ExperimentFacts, units: _Units) -> Split:
    weights, arms = _weights(facts), _arms(facts)
    return Split(
        counts=tuple(tuple(units.get((epoch, arm), 0) for arm in arms) for epoch in weights),
        weights=_matrix(facts, weights),
    )


def _matrix(
    facts: ExperimentFacts, weights: Mapping[int, Mapping[str, float]]
) -> tuple[tuple[float, ...], ...]:
    arms = _arms(facts)
    return tuple(tuple(row.get(arm, 0.0) for arm in arms) for row in weights.values())


def _level_splits(facts: ExperimentFacts) -> dict[tuple[str, str], Split]:
    weights = _weights(facts)
    units: dict[tuple[str, str], dict[tuple[int, str], int]] = {}
    if is_alike(_matrix(facts, weights)):
        first, primary = next(iter(weights)), facts.primary.name
        for row in need(facts.counts):
            if row.metric == primary and row.dimension:
                level = units.setdefault((row.dimension, row.level), {})
                level[first, row.arm] = row.assigned
    else:
        for count in need(facts.level_counts):
            level = units.setdefault((count.dimension, count.level), {})
            level[count.epoch, count.arm] = count.assigned
    return {level: _split(facts, counts) for level, counts in units.items()}
