"""How often do the sample ratio checks alarm, hour by hour? `python -m benchmarks.srm`, JSON lines.

Traffic is drawn, and the registered checks judge it at every look; a replication alarms if any of
them fails at any look. Looks at which no chi-square statistic exceeds 12 are passed over: no check
can fail there (a sequential one needs 2 ln 1000 = 13.8, a fixed one 18.2).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import sqrt
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tasks.experiments.quality.checks.traffic import FIXED_ALPHA, SEQUENTIAL_ALPHA
from tasks.experiments.quality.facts import Arm, Count, ExperimentFacts, Metric, Share
from tasks.experiments.quality.registry import run_check

Floats = NDArray[np.float64]

CHECKS = ("srm", "srm-sequential", "srm-values", "srm-dimensions")
FALSE_ALARMS = 0.005
FOUND = 0.95
_WORTH_A_LOOK = 12.0
_BLOCK = 100
_ARMS = ("control", "treatment")
_NOW = datetime(2026, 1, 15, tzinfo=UTC)
_METRIC = Metric(
    name="spend",
    role="primary",
    event_type="buy",
    missing="exclude",
    has_covariate=False,
    is_aggregated=False,
)


@dataclass(frozen=True)
class Traffic:
    """Two arms, looked at every hour: how the units should split, and how they do."""

    planned: float = 0.5  # the control's weight
    actual: float = 0.5
    units_an_hour: int = 100
    looks: int = 336
    valued: float = 0.3  # share of the units that get a value
    levels: tuple[float, ...] = (0.4, 0.3, 0.15, 0.1, 0.05)  # of one dimension


@dataclass(frozen=True)
class Alarms:
    """Shares of replications in which a check failed at some look, and the standard error."""

    any: float
    standard_error: float
    srm: float
    srm_sequential: float
    srm_values: float
    srm_dimensions: float


def alarms(
    traffic: Traffic,
    replications: int,
    checks: Sequence[str] = CHECKS,
    seed: int = 20261121,
) -> Alarms:
    """Draw so many experiments and judge each at every look."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(("any", *CHECKS), 0)
    for start in range(0, replications, _BLOCK):
        for failed in _block(rng, traffic, min(_BLOCK, replications - start), checks):
            found["any"] += bool(failed)
            for name in failed:
                found[name] += 1
    share = {name.replace("-", "_"): count / replications for name, count in found.items()}
    error = sqrt(share["any"] * (1 - share["any"]) / replications)
    return Alarms(standard_error=error, **share)


def _block(
    rng: np.random.Generator, traffic: Traffic, size: int, checks: Sequence[str]
) -> Iterator[set[str]]:
    """The checks that failed at some look, for each of ``size`` experiments."""
    arms = np.array([traffic.actual, 1 - traffic.actual])
    cells = np.outer(arms, traffic.levels).ravel()
    drawn = rng.multinomial(traffic.units_an_hour, cells, size=(size, traffic.looks))
    valued = rng.binomial(drawn, traffic.valued)
    shape = (size, traffic.looks, 2, len(traffic.levels))
    units, values = (counts.cumsum(axis=1).reshape(shape) for counts in (drawn, valued))
    planned = traffic.planned
    far = {
        "srm": _chi2(units.sum(axis=3), planned) > _WORTH_A_LOOK,
        "srm-values": _chi2(values.sum(axis=3), planned) > _WORTH_A_LOOK,
        "srm-dimensions": (_chi2(units.swapaxes(2, 3), planned).max(axis=2) > _WORTH_A_LOOK),
    }
    far["srm-sequential"] = far["srm"]
    for number in range(size):
        yield {
            name
            for name in checks
            if any(
                run_check(name, _facts(traffic, units[number, look], values[number, look])).outcome
                == "failed"
                # From the last one: what is wrong shows there soonest.
                for look in np.flatnonzero(far[name][number])[::-1]
            )
        }


def _chi2(counts: NDArray[np.int64], planned: float) -> Floats:
    """Of two arms, which are the last axis."""
    n = counts.sum(axis=-1)
    gap = counts[..., 0] - n * planned
    return np.asarray(gap**2 / np.maximum(n * planned * (1 - planned), 1e-9))


def _facts(
    traffic: Traffic, units: NDArray[np.int64], values: NDArray[np.int64]
) -> ExperimentFacts:
    weights = (traffic.planned, 1 - traffic.planned)
    counts = []
    for arm, name in enumerate(_ARMS):
        counts += [
            _count(name, dimension, level, units[arm].sum(), values[arm].sum())
            for dimension, level in (("", ""), ("epoch", "1"))
        ]
        counts += [
            _count(name, "country", str(level), units[arm, level], values[arm, level])
            for level in range(len(traffic.levels))
        ]
    return ExperimentFacts.model_construct(
        experiment_id=UUID(int=1),
        experiment="buttons",
        status="active",
        started_at=_NOW,
        now=_NOW,
        variants=tuple(Arm(name=name, is_control=name == "control") for name in _ARMS),
        shares=tuple(
            Share(arm=name, epochs=(1,), weights=(weight,))
            for name, weight in zip(_ARMS, weights, strict=True)
        ),
        metrics=(_METRIC,),
        counts=tuple(counts),
    )


def _count(arm: str, dimension: str, level: str, assigned: int, n: int) -> Count:
    return Count(
        metric=_METRIC.name,
        arm=arm,
        dimension=dimension,
        level=level,
        assigned=int(assigned),
        events=int(n),
        converted=int(n),
        n=int(n),
        covariate_mean=0.0,
        covariate_m2=0.0,
    )


SOUND = (
    (Traffic(), 20_000),
    (Traffic(planned=0.9, actual=0.9), 20_000),
    (Traffic(planned=0.99, actual=0.99), 20_000),
    (Traffic(units_an_hour=47, looks=2160), 4_000),  # a quarter of a year
)
BROKEN = (Traffic(actual=0.51, units_an_hour=297), 4_000)  # 99,792 units at the last look


def main() -> int:
    """Print every case; 1 if one misses its bar."""
    print(json.dumps({"fixed_alpha": FIXED_ALPHA, "sequential_alpha": SEQUENTIAL_ALPHA}))
    is_held = True
    for traffic, replications in SOUND:
        found = alarms(traffic, replications)
        is_held &= _show(traffic, replications, found, found.any <= FALSE_ALARMS)
    traffic, replications = BROKEN
    for checks in (("srm",), ("srm-sequential",)):
        found = alarms(traffic, replications, checks)
        is_held &= _show(traffic, replications, found, found.any >= FOUND)
    return 0 if is_held else 1


def _show(traffic: Traffic, replications: int, found: Alarms, is_within_bar: bool) -> bool:
    document = {**asdict(traffic), "replications": replications, **asdict(found)}
    print(json.dumps({**document, "is_within_bar": is_within_bar}), flush=True)
    return is_within_bar


if __name__ == "__main__":
    sys.exit(main())
