"""How often does the sequential test of the traffic split alarm? `python -m benchmarks.splits`."""

from __future__ import annotations

import json
from math import sqrt

import numpy as np

from tasks.experiments.statistics.srm import sequential_ratio


def alarms(share: float, units: int, looks: int, runs: int, seed: int) -> float:
    """Share of experiments of two arms, meant to be equal, that alarm at one of the looks.

    ``share`` is what the first arm really gets.
    """
    rng = np.random.default_rng(seed)
    size = units // looks
    first = rng.binomial(size, share, (runs, looks))
    batches = np.stack((first, size - first), axis=2)
    return float(np.mean([sequential_ratio(b.tolist(), (0.5, 0.5)).is_mismatch for b in batches]))


def main() -> None:
    """Print the rates of a sound split and of 51 to 49, with their standard errors."""
    cases = (0.5, 33_600, 20_000), (0.5, 1_000_000, 5_000), (0.51, 100_000, 5_000)
    for share, units, runs in cases:
        rate = alarms(share, units, 336, runs, 20261121)
        error = sqrt(rate * (1 - rate) / runs)
        print(json.dumps({"share": share, "units": units, "alarms": rate, "standard_error": error}))


if __name__ == "__main__":
    main()
