"""Does a bandit earn what it promises? Whole ones, drawn: `python -m benchmarks.bandits`.

JSON lines: what each algorithm loses against the best arm, as a share of what an equal split loses;
how often the arm that is likely best is not better at all; and how long 1,000 updates take.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from math import sqrt
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.allocating import HOURS, LIKELY, Bandit, Course, mean_and_error, run, untouched
from tasks.experiments.bandits.allocation import allocate_many, allocate_traffic
from tasks.experiments.bandits.evidence import AllocationEvidence, BanditArm, BanditPolicy
from tasks.experiments.quality.model import QualityCheck

SEED = 20261121
RUNS, FEWER = 300, 100
MOST_REGRET = 0.30  # Thompson, five arms
MOST_SECONDS = 10.0  # 1,000 bandits of five arms
ALGORITHMS = ("thompson", "top_two", "top_two_sampling", "epsilon_greedy")
FIVE, SPREAD = (0.05, 0.05, 0.05, 0.05, 0.06), (0.04, 0.045, 0.05, 0.055, 0.06)
TWO, CLOSE = (0.05, 0.06), (0.05, 0.055)
MEANS = (3.0, 3.0, 3.0, 3.0, 3.4)


def bandits() -> Iterator[tuple[str, Bandit, bool, int]]:
    """Name, what is drawn, whether the bar on regret holds for it, and how often it is drawn."""
    settings = {"5 arms": FIVE, "5 arms, spread": SPREAD, "2 arms": TWO, "2 arms, close": CLOSE}
    for setting, values in settings.items():
        runs = RUNS if values == FIVE else FEWER
        for algorithm in ALGORITHMS:
            is_barred = algorithm == "thompson" and len(values) == 5
            bandit = Bandit(values, BanditPolicy(algorithm=algorithm))
            yield f"{setting}, {algorithm}", bandit, is_barred, runs
        yield f"{setting}, equal split", untouched(Bandit(values)), False, runs
    yield "5 arms, thompson, means", Bandit(MEANS, deviation=5.0), True, FEWER
    for name, bandit in others():
        yield f"5 arms, thompson, {name}", bandit, False, FEWER


def others() -> Iterator[tuple[str, Bandit]]:
    """Thompson on the first five arms, under other circumstances."""
    yield "known after a day", Bandit(FIVE, window_hours=24)
    yield "a week that swings by half", Bandit(FIVE, swing=0.5)
    yield "rates that double meanwhile", Bandit(FIVE, rise=1.0)
    yield "warm-up of a day", Bandit(FIVE, BanditPolicy(warm_up_hours=24))
    yield "small steps", Bandit(FIVE, BanditPolicy(maximum_step=0.05))
    free = BanditPolicy(maximum_step=1, minimum_change=0, warm_up_units=0)
    yield "unbounded", Bandit(FIVE, free)


def figures(course: Course) -> dict[str, Any]:
    """What came of the runs, each mean with its standard error."""
    best = int(np.argmax(course.bandit.values))
    regret, regret_se = mean_and_error(course.regret)
    share, share_se = mean_and_error(course.weights[:, best])
    leads = float((course.leader == best).mean())
    return {
        "regret": regret,
        "regret_se": regret_se,
        "regret_sd": float(course.regret.std(ddof=1)),
        "last_share_of_best": share,
        "last_share_of_best_se": share_se,
        "best_leads": leads,
        "best_leads_se": sqrt(leads * (1 - leads) / len(course.leader)),
        "changes": float(course.changes.mean()),
    }


def falsely_likely(arms: int, runs: int, seed: int = SEED, hours: int = HOURS) -> dict[str, float]:
    """How often some arm of several equal ones was best with LIKELY chance, at any hour."""
    course = run(Bandit((0.05,) * arms, hours=hours), runs, seed)
    share = float((course.most_likely > LIKELY).mean())
    return {"ever_likely": share, "ever_likely_se": sqrt(share * (1 - share) / runs)}


def seconds(count: int = 1000, rounds: int = 5) -> dict[str, float]:
    """Median time of an update of so many bandits of five arms, together and one by one."""
    rng = np.random.default_rng(SEED)
    drawn = [_one(rng) for _ in range(count)]
    together, singly = [], []
    for _ in range(rounds):
        started = perf_counter()
        allocate_many(drawn)
        between = perf_counter()
        for each in drawn:
            allocate_traffic(each)
        together.append(between - started)
        singly.append(perf_counter() - between)
    return {
        "seconds": statistics.median(together),
        "seconds_one_by_one": statistics.median(singly),
    }


def _one(rng: np.random.Generator) -> AllocationEvidence:
    counts = rng.integers(200, 50_000, 5).tolist()
    arms = tuple(
        BanditArm(name=str(place), weight=0.2, n=n, mean=int(rng.binomial(n, 0.05)) / n)
        for place, n in enumerate(counts)
    )
    checks = (QualityCheck(name="srm", outcome="passed"),)
    return AllocationEvidence(
        experiment="drawn", metric="value", is_rate=True, arms=arms, hours=48, checks=checks
    )


def main() -> int:
    """Print every case; 1 if one misses its bar."""
    is_held = True
    for name, bandit, is_barred, runs in bandits():
        found = figures(run(bandit, runs, SEED))
        is_within = found["regret"] <= MOST_REGRET if is_barred else None
        is_held &= _show("regret", name, runs, {"values": bandit.values} | found, is_within)
    for arms in (2, 5):
        _show("equal arms", f"{arms} arms, thompson", FEWER, falsely_likely(arms, FEWER), None)
    taken = seconds()
    is_fast = max(taken.values()) <= MOST_SECONDS
    is_held &= _show("speed", "1,000 bandits of 5 arms", 5, taken, is_fast)
    return 0 if is_held else 1


def _show(
    what: str, name: str, runs: int, found: dict[str, Any], is_within_bar: bool | None
) -> bool:
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}
    drawn = {"replications": runs, "seed": SEED}
    document = {"what": what, "case": name} | drawn | rounded | {"is_within_bar": is_within_bar}
    print(json.dumps(document), flush=True)
    return is_within_bar is not False


if __name__ == "__main__":
    sys.exit(main())
