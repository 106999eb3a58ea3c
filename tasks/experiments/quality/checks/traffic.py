"""Did the traffic split as the allocation log says? The tests of a sample ratio mismatch (SRM).

They are made at every look, mostly hourly. A chi-square test at 0.001 would alarm in 2 % of sound
experiments within two weeks; at ``FIXED_ALPHA`` the fixed tests and the sequential one together
stay below 0.5 % (benchmarks/srm.py), and still find a split of 51/49 by 100,000 units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.experiments.quality.facts import EPOCH, Count, ExperimentFacts, MissingFacts, need
from tasks.experiments.quality.model import Figure, QualityCheck
from tasks.experiments.quality.ratio import Split, is_alike
from tasks.experiments.quality.registry import failed, passed, quality_checks, unknown
from tasks.experiments.statistics.multiplicity import holm

FIXED_ALPHA = 2e-5
"""Of each fixed test at each look."""

SEQUENTIAL_ALPHA = 1e-3
"""Of the sequential test over all looks together."""


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
    split = _split(facts, {(c.level, c.arm): c.n for c in _epoch_counts(facts)})
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
        for (epoch, arm), units in _assigned(facts).items()
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
    split = _split(facts, _assigned(facts))
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


def _weights(facts: ExperimentFacts) -> dict[str, dict[str, float]]:
    """Epoch (as text: it is a level), then arm, to weight."""
    if not facts.weights:
        raise MissingFacts("the allocation log is empty, so no split was planned; start it anew")
    return facts.weights


def _epoch_counts(facts: ExperimentFacts) -> list[Count]:
    """The primary metric's counts by epoch; of the whole arms where one split has held."""
    primary = facts.primary.name
    rows = [row for row in need(facts.counts) if row.metric == primary]
    by_epoch = [row for row in rows if row.dimension == EPOCH]
    weights = _weights(facts)
    if by_epoch:
        _require_known({row.level for row in by_epoch if row.assigned}, weights)
        return by_epoch
    whole = [row for row in rows if row.dimension == ""]
    if not whole:
        raise MissingFacts(f"metric {primary!r} has no sufficient statistics yet")
    if not is_alike(_matrix(facts, weights)):
        if not any(row.assigned for row in whole):
            raise MissingFacts("no unit is assigned yet")
        raise MissingFacts(
            "the split has changed, and which units came before and after is not known"
        )
    first = next(iter(weights))
    return [row.model_copy(update={"level": first}) for row in whole]


def _require_known(levels: Iterable[str], weights: Mapping[str, object]) -> None:
    strange = sorted(set(levels) - set(weights))
    if strange:
        raise MissingFacts(
            f"units were assigned in epochs that the allocation log lacks: {', '.join(strange)}"
        )


def _assigned(facts: ExperimentFacts) -> dict[tuple[str, str], int]:
    return {(row.level, row.arm): row.assigned for row in _epoch_counts(facts)}


def _split(facts: ExperimentFacts, units: Mapping[tuple[str, str], int]) -> Split:
    weights, arms = _weights(facts), _arms(facts)
    return Split(
        counts=tuple(tuple(units.get((epoch, arm), 0) for arm in arms) for epoch in weights),
        weights=_matrix(facts, weights),
    )


def _matrix(
    facts: ExperimentFacts, weights: Mapping[str, Mapping[str, float]]
) -> tuple[tuple[float, ...], ...]:
    arms = _arms(facts)
    return tuple(tuple(row.get(arm, 0.0) for arm in arms) for row in weights.values())


def _level_splits(facts: ExperimentFacts) -> dict[tuple[str, str], Split]:
    weights = _weights(facts)
    units: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    if is_alike(_matrix(facts, weights)):
        first, primary = next(iter(weights)), facts.primary.name
        for row in need(facts.counts):
            if row.metric == primary and row.dimension not in {"", EPOCH}:
                level = units.setdefault((row.dimension, row.level), {})
                level[first, row.arm] = row.assigned
    else:
        for count in need(facts.level_counts):
            level = units.setdefault((count.dimension, count.level), {})
            level[str(count.epoch), count.arm] = count.assigned
    return {level: _split(facts, counts) for level, counts in units.items()}
