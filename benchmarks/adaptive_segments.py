"""Segments and days since exposure of bandits: `python -m benchmarks.adaptive_segments`.

JSON lines; exits with 1 if one misses its bar. Moods change while the traffic follows the evidence,
otherwise in each segment, and what people do on later days too. Is the effect of each segment
right, and that of each day? How often does it "differ", "fade" or "grow" where it does not?
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.adaptive_courses import of_rates, reallocated
from benchmarks.adaptive_simulations import (
    ALPHA,
    LEAST_POOLED_BIAS,
    MOST_BIAS,
    RUNS,
    SEED,
    in_errors,
    most_errors,
    show,
)
from benchmarks.allocating import Known
from tasks.experiments.bandits.evidence import BanditPolicy
from tasks.experiments.decision.evidence import Cell, Epoch
from tasks.experiments.exposure.evidence import ExposedArm, Intake
from tasks.experiments.exposure.trend import trends, weights_of
from tasks.experiments.exposure.within_epochs import compare_within, pooled
from tasks.experiments.segments.effects import segments_of
from tasks.experiments.segments.evidence import (
    MetricSegments,
    SegmentCell,
    SegmentEpochs,
    SegmentEvidence,
)
from tasks.experiments.statistics.moments import EMPTY, SampleMean
from tasks.experiments.statistics.ratios import JointMoments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DAYS = 7


@dataclass(frozen=True)
class Segmented:
    """A bandit of rates over segments; the last arm adds the same to the rate of each."""

    arms: int = 2
    effect: float = 0.0
    shares: tuple[float, ...] = (0.5, 0.3, 0.2)  # of the traffic
    rates: tuple[float, ...] = (0.05, 0.10, 0.20)  # at the start
    rises: tuple[float, ...] = (1.0, 0.5, -0.5)  # by which share they have grown at the end
    steps: int = 336  # hours of two weeks
    units: int = 250  # in each step
    policy: BanditPolicy = field(default_factory=BanditPolicy)

    def rates_at(self, step: int) -> Floats:
        """Segments x arms."""
        grown = 1 + np.array(self.rises) * step / max(1, self.steps - 1)
        rates = np.repeat((np.array(self.rates) * grown)[:, None], self.arms, axis=1)
        rates[:, -1] += self.effect
        return np.asarray(rates)


@dataclass(frozen=True)
class Found:
    """Of runs without a difference: bias in its standard errors, and how often one is told."""

    pooled_bias: tuple[float, ...]  # of each segment, or of the slope
    bias: tuple[float, ...]
    pooled_told: float
    told: float

    def is_within(self, runs: int, *, is_biased: bool) -> bool:
        """Whether all bars are kept; pooling is only wrong where the effect moves the split."""
        is_far = min(map(abs, self.pooled_bias)) > LEAST_POOLED_BIAS
        is_right = max(map(abs, self.bias)) <= MOST_BIAS
        return (is_far or not is_biased) and is_right and self.told <= most_errors(runs)


def draw_segments(world: Segmented, runs: int, seed: int) -> tuple[Ints, Ints]:
    """Units and conversions, runs x epochs x segments x arms; epochs fill from 0."""
    rng, every = np.random.default_rng(seed), np.arange(runs)
    n = np.zeros((runs, world.steps + 1, len(world.shares), world.arms), dtype=np.int64)
    successes = np.zeros_like(n)
    weights, epoch = np.full((runs, world.arms), 1 / world.arms), np.zeros(runs, dtype=np.int64)
    known, begins = Known.nothing(runs, world.arms), np.ones(runs, dtype=np.bool_)
    for step in range(world.steps):
        came = rng.multinomial(world.units, world.shares, size=runs)
        added = rng.multinomial(came, weights[:, None])
        converted = rng.binomial(added, world.rates_at(step))
        n[every, epoch] += added
        successes[every, epoch] += converted
        known.add(of_rates(added.sum(axis=1), converted.sum(axis=1)), begins)
        moved = reallocated(world.policy, known, weights)
        begins = (moved != weights).any(axis=1)
        epoch += begins
        weights = moved
    return n, successes


def segments_found(world: Segmented, runs: int, seed: int) -> Found:
    """Effects by segment of the last arm, as the report has them, and as it would have pooled."""
    n, successes = draw_segments(world, runs, seed)
    within, whole, told = [], [], np.zeros(2)
    for units, hits in zip(n, successes, strict=True):
        kept = units.sum(axis=(1, 2)) > 0
        evidence = _evidence(units[kept], hits[kept])
        found = segments_of(evidence)
        as_one = segments_of(evidence.model_copy(update={"epochs": ()}))
        within.append(_effects(found))
        whole.append(_effects(as_one))
        told += [_differs(as_one), _differs(found)]
    shares = (told / runs).tolist()
    return Found(
        pooled_bias=_biases(np.array(whole) - world.effect),
        bias=_biases(np.array(within) - world.effect),
        pooled_told=shares[0],
        told=shares[1],
    )


def days_found(effect: float, runs: int, seed: int, intakes: int = 14, units: int = 400) -> Found:
    """The slope of an effect that lasts, where who comes late does less and less from day to day.

    Thompson sampling by what units do on their first day, once for each intake.
    """
    rng = np.random.default_rng(seed)
    within, whole, told = [], [], np.zeros(2)
    for _ in range(runs):
        held = _intakes(rng, effect, intakes, units)
        _, (trend,) = compare_within(held, "mean", 0, ALPHA)
        control, arm = pooled(held)
        (as_one,) = trends("mean", control, [arm], 0, ALPHA)
        within.append(trend.change)
        whole.append(as_one.change)
        told += [each.outcome in ("fades", "grows") for each in (as_one, trend)]
    shares = (told / runs).tolist()
    biases = [_biases(np.array(each, dtype=float)[:, None]) for each in (whole, within)]
    return Found(biases[0], biases[1], shares[0], shares[1])


def _evidence(n: Ints, successes: Ints) -> SegmentEvidence:
    """One run, from units and conversions by epoch, segment and arm."""
    names = ["control", *(f"arm-{number}" for number in range(1, n.shape[2]))]
    totals, hits = n.sum(axis=0).tolist(), successes.sum(axis=0).tolist()
    rows, converted = n.tolist(), successes.tolist()
    segments = range(n.shape[1])
    return SegmentEvidence(
        metric="signup",
        role="primary",
        kind="proportion",
        alpha=ALPHA,
        is_higher_better=True,
        control=names[0],
        treatments=tuple(names[1:]),
        cells=tuple(
            SegmentCell(dimension="plan", level=str(segment), arm=name, cell=_rate(units, done))
            for segment in segments
            for name, units, done in zip(names, totals[segment], hits[segment], strict=True)
        ),
        epochs=tuple(
            SegmentEpochs(
                dimension="plan",
                level=str(segment),
                epochs=tuple(
                    Epoch(
                        number=number,
                        traffic=sum(row[segment]),
                        arms=dict(zip(names, map(_rate, row[segment], done[segment]), strict=True)),
                    )
                    for number, (row, done) in enumerate(zip(rows, converted, strict=True), start=1)
                ),
            )
            for segment in segments
        ),
    )


def _rate(n: int, successes: int) -> Cell:
    share = successes / max(n, 1)
    return Cell(n=n, mean=share, m2=successes * (1 - share))


def _effects(found: MetricSegments) -> list[float]:
    """Of the last arm, by segment."""
    told = {each.level: each.difference for each in found.effects if each.arm == _last(found)}
    return [np.nan if told[level] is None else float(told[level] or 0) for level in sorted(told)]


def _last(found: MetricSegments) -> str:
    return max(each.arm for each in found.effects)


def _differs(found: MetricSegments) -> bool:
    return any(test.finding == "differs" for test in found.tests)


def _intakes(rng: np.random.Generator, effect: float, count: int, units: int) -> list[Intake]:
    days, held, share = np.arange(DAYS), list[Intake](), 0.5
    first = [EMPTY, EMPTY]
    for number in range(count):
        late = number / max(1, count - 1)
        usual = 5 + 2 * late - 0.5 * late * days
        sizes = [units - int(rng.binomial(units, share))]
        sizes.append(units - sizes[0])
        tables = [
            _bursts(rng, size) + usual + shift
            for size, shift in zip(sizes, (0.0, effect), strict=True)
        ]
        names = "control", "red"
        held.append({each: _exposed(each, t) for each, t in zip(names, tables, strict=True)})
        first = [known + _moments(table[:, 0]) for known, table in zip(first, tables, strict=True)]
        share = _chance(*first)
    return held


def _bursts(rng: np.random.Generator, units: int) -> Floats:
    """What a unit does today it does tomorrow too: the correlation of days is .8, and more."""
    noise = rng.normal(size=(units, DAYS))
    for day in range(1, DAYS):
        noise[:, day] = 0.8 * noise[:, day - 1] + 0.6 * noise[:, day]
    return np.asarray(noise + rng.normal(size=(units, 1)))


def _chance(control: SampleMean, red: SampleMean) -> float:
    """That red is the better one, never all or nothing."""
    error = sqrt(sum((each.variance or 1) / max(each.n, 1) for each in (control, red)))
    return float(np.clip(special.ndtr((red.mean - control.mean) / error), 0.05, 0.95))


def _exposed(name: str, table: Floats) -> ExposedArm:
    """From the values of units on days."""
    middle, spread = weights_of(0, DAYS)
    held = [_moments(day) for day in table.T]
    return ExposedArm(
        name,
        len(table),
        tuple(JointMoments(day.n, day.mean, day.m2, 1.0, 0.0, 0.0) for day in held),
        _moments(table @ ((np.arange(DAYS) - middle) / spread)),
    )


def _moments(values: Floats) -> SampleMean:
    return SampleMean(len(values), float(values.mean()), float(values.var() * len(values)))


def _biases(gaps: Floats) -> tuple[float, ...]:
    return tuple(round(in_errors(row), 2) for row in gaps.T)


def _cases() -> Iterator[dict[str, Any]]:
    """Every case, with whether it keeps its bar."""
    for world, runs in (
        (Segmented(effect=0.01), RUNS),
        (Segmented(), RUNS),
        (Segmented(arms=5, effect=0.01), RUNS // 5),
    ):
        found = segments_found(world, runs, SEED)
        is_within = found.is_within(runs, is_biased=world.effect > 0)
        told = {"arms": world.arms, "effect": world.effect, "runs": runs}
        yield {"of": "segments", **told, **asdict(found), "is_within_bar": is_within}
    for effect, runs in ((0.3, RUNS), (0.0, RUNS // 2)):
        found = days_found(effect, runs, SEED)
        is_within = found.is_within(runs, is_biased=effect > 0)
        told = {"effect": effect, "runs": runs}
        yield {"of": "days", **told, **asdict(found), "is_within_bar": is_within}


if __name__ == "__main__":
    sys.exit(show(_cases()))
