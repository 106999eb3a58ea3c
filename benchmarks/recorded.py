"""Recorded experiments of others: cumulative statistics of up to five arms by four metrics.

The ASOS Digital Experiments Dataset (Liu, Cardoso, Couturier and McCoy 2021, CC BY 4.0): 78 real
experiments with a checkpoint every 12 or 24 hours. `ASOS_CSV` says where the file lies.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from tasks.experiments.decision.evidence import Arm

RATE = "1"
"""The metric whose values are 0 or 1; the others are counts and amounts."""

_BESIDE = Path(__file__).parents[2] / "shared/data/asos.csv"


@dataclass(frozen=True)
class Checkpoint:
    """Cumulative statistics of every arm, the control first; None where a variance is missing."""

    day: float
    arms: tuple[Arm, ...] | None


@dataclass(frozen=True)
class Recorded:
    """One experiment by one metric."""

    name: str
    metric: str
    checkpoints: tuple[Checkpoint, ...]

    @property
    def planned_units(self) -> int:
        """The last count over all arms."""
        return sum(arm.n for arm in self.checkpoints[-1].arms or ())


def data_file() -> Path | None:
    """Where the data are, if they are there."""
    path = Path(os.environ.get("ASOS_CSV", _BESIDE))
    return path if path.is_file() else None


def read(path: Path, metric: str = RATE) -> list[Recorded]:
    """All experiments by one metric; checkpoints that not every arm has are left out."""
    rows: dict[str, dict[float, dict[str, dict[str, str]]]] = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["metric_id"] == metric:
                at = rows[row["experiment_id"]][float(row["time_since_start"])]
                at[row["variant_id"]] = row
    return [_recorded(name, metric, days) for name, days in sorted(rows.items())]


def _recorded(name: str, metric: str, days: dict[float, dict[str, dict[str, str]]]) -> Recorded:
    names = sorted({variant for at in days.values() for variant in at})
    whole = {day: at for day, at in sorted(days.items()) if len(at) == len(names)}
    _, last = list(whole.items())[-1]
    counts = [last[names[0]]["count_c"], *(last[variant]["count_t"] for variant in names)]
    total = sum(float(count) for count in counts) or 1.0
    shares = [float(count) / total for count in counts]
    return Recorded(
        name,
        metric,
        tuple(Checkpoint(day, _arms(at, names, shares, metric)) for day, at in whole.items()),
    )


def _arms(
    at: dict[str, dict[str, str]], names: Sequence[str], shares: Sequence[float], metric: str
) -> tuple[Arm, ...] | None:
    figures = [("control", at[names[0]], "c"), *((f"arm {name}", at[name], "t") for name in names)]
    arms = []
    for (name, row, side), share in zip(figures, shares, strict=True):
        n, mean = int(float(row[f"count_{side}"])), float(row[f"mean_{side}"])
        variance = float(row[f"variance_{side}"] or "nan")
        is_rate = metric == RATE
        m2 = n * mean * (1 - mean) if is_rate else max(n - 1, 0) * variance
        if not isfinite(m2):
            return None
        converted = round(n * mean) if is_rate else 0
        arms.append(
            Arm(name=name, weight=share, assigned=n, n=n, mean=mean, m2=m2, converted=converted)
        )
    return tuple(arms)
