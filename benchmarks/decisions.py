"""Does the rule keep its promises? Whole experiments, drawn: `python -m benchmarks.decisions`.

JSON lines: how often something is found where nothing is, how often the planned effect is, how soon
and how large. Then some runs are put before the rule itself, look by look.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.judging import (
    Bound,
    confidence_sequence,
    decide,
    fixed,
    group_sequential,
    lifts,
    likely_at_last,
    significant_at_last,
)
from benchmarks.ruled import before_the_rule, differing
from benchmarks.simulated import DAILY, HOURLY, IRREGULAR, Experiment, draw
from tasks.experiments.definition.history import History
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.definition.planning import plan_sample

SEED = 20261121
ALPHA, POWER = 0.05, 0.80
EFFECT = 0.1  # the smallest one worth finding, relative
MOST_STOP, MOST_STOP_TWICE, MOST_BIAS = 0.80, 0.45, 0.10
RUNS, FEWER = 20_000, 10_000


@dataclass(frozen=True)
class Errors:
    """Shares of runs, each with the standard error of its own."""

    any_found: float  # some arm significant, for better or worse, before the end
    any_found_se: float
    null_found: float  # one that is truly like the control
    null_found_se: float
    won: float  # some arm named winner
    won_se: float


@dataclass(frozen=True)
class Gains:
    """What comes of a true effect in the first treatment."""

    power: float  # it is named winner
    power_se: float
    mean_stop: float  # of the plan, runs without a winner too
    mean_stop_se: float
    raw_lift: float  # of winners, divided by the true one
    corrected_lift: float
    corrected_lift_se: float


def errors(experiment: Experiment, bound: Bound, runs: int, seed: int = SEED) -> Errors:
    """Draw runs and count what was found in them."""
    counts = np.zeros(3)
    for paths in draw(experiment, runs, seed):
        found = decide(paths, bound)
        counts += [found.is_any_found.sum(), found.is_null_found.sum(), (found.winner > 0).sum()]
    shares = (counts / runs).tolist()
    pairs = [value for share in shares for value in (share, sqrt(share * (1 - share) / runs))]
    return Errors(*pairs)


def most_errors(runs: int) -> float:
    """Alpha, and twice the standard error of a share of so many runs."""
    return ALPHA + 2 * sqrt(ALPHA * (1 - ALPHA) / runs)


def gains(experiment: Experiment, runs: int, seed: int = SEED) -> Gains:
    """Draw runs and see when the first treatment wins under the group-sequential bounds."""
    control, treatment = experiment.values[:2]
    fractions = experiment.units / experiment.planned_units
    won, stops, raw, corrected = [], [], [], []
    for paths in draw(experiment, runs, seed):
        found = decide(paths, group_sequential)
        won.append(found.winner == 1)
        stops.append(fractions[found.look])
        is_first = found.winner[found.winner > 0] == 1
        seen, shrunken = lifts(paths, found)
        raw.append(seen[is_first])
        corrected.append(shrunken[is_first])
    truth = (treatment - control) / control
    power, stop = np.concatenate(won), np.concatenate(stops)
    lift = np.concatenate(corrected) / truth
    return Gains(
        power=float(power.mean()),
        power_se=float(power.std() / sqrt(runs)),
        mean_stop=float(stop.mean()),
        mean_stop_se=float(stop.std() / sqrt(runs)),
        raw_lift=float(np.concatenate(raw).mean() / truth),
        corrected_lift=float(lift.mean()),
        corrected_lift_se=float(lift.std() / sqrt(len(lift))),
    )


def planned_units(
    mean: float, arms: int = 2, deviation: float | None = None, **changes: Any
) -> int:
    """The sample that `headway experiment plan` prints for EFFECT."""
    kind = "mean" if deviation else "proportion"
    metric = {"name": "value", "kind": kind, "event_type": "buy", "missing": "zero"}
    document = {
        "name": "drawn",
        "variants": [
            {"name": str(arm), "weight": 1 / arms, "is_control": arm == 0} for arm in range(arms)
        ],
        "metric": metric | {"aggregation": "sum" if deviation else "any"},
        "baseline": {"mean": mean, "standard_deviation": deviation},
        "minimum_effect": EFFECT,
        "power": POWER,
        **changes,
    }
    plan = ExperimentPlan.model_validate(document)
    nothing = History(days=28, units=0, n=0, baseline=None, units_a_day=None)
    found = plan_sample(plan, nothing).planned_sample_size
    if found is None:
        raise AssertionError("a plan with an effect has a size")
    return found


def without_difference() -> Iterator[tuple[str, Experiment, Bound, int]]:
    """No arm differs; methods that promise alpha, the default first."""
    n = planned_units(0.1)
    pair, four = (0.1, 0.1), planned_units(0.1, 4)
    default = group_sequential
    for name, schedule in (("hourly", HOURLY), ("daily", DAILY), ("irregular", IRREGULAR)):
        yield name, Experiment(pair, n, schedule), default, RUNS
    yield "hourly, a rate of 1 %", Experiment((0.01, 0.01), n, minimum_per_arm=1000), default, RUNS
    yield "hourly, means", Experiment((3.0, 3.0), 8_000, deviation=5.0), default, FEWER
    later = tuple((day + 1) / 14 for day in range(28))
    reserve = Experiment(pair, n, later, reserved_alpha=0.01)
    yield "daily, to twice the plan with a reserve of 1 %", reserve, default, RUNS
    yield "hourly, four arms", Experiment((0.1,) * 4, four), default, FEWER
    mixed = Experiment((0.1, 0.1, 0.11, 0.09), four, DAILY)
    yield "daily, four arms: one better, one worse", mixed, default, RUNS
    yield "confidence_sequence, hourly", Experiment(pair, n), confidence_sequence, RUNS
    yield "fixed, at the end", Experiment(pair, n, DAILY), fixed, RUNS


def without_promise() -> Iterator[tuple[str, Experiment, Bound]]:
    """No arm differs; other ways to decide, to compare."""
    n = planned_units(0.1)
    for name, schedule in (("hourly", HOURLY), ("daily", DAILY)):
        pair = Experiment((0.1, 0.1), n, schedule)
        half = Experiment((0.1, 0.1), n, schedule, minimum_per_arm=n // 4)
        yield f"significant and 100 units an arm, {name}", pair, significant_at_last
        yield f"significant and half of the plan, {name}", half, significant_at_last
        yield f"bayesian, {name}", pair, likely_at_last


def with_effect() -> Iterator[tuple[str, Experiment, int]]:
    """The planned effect, and multiples of it."""
    n = planned_units(0.1)
    yield "10 %, hourly", Experiment((0.1, 0.11), n), RUNS
    yield "10 %, daily", Experiment((0.1, 0.11), n, DAILY), RUNS
    yield "2 %, daily", Experiment((0.02, 0.022), planned_units(0.02), DAILY), RUNS
    mean = planned_units(3.0, deviation=5.0)
    yield "mean, daily", Experiment((3.0, 3.3), mean, DAILY, deviation=5.0), RUNS
    four = planned_units(0.1, 4)
    yield "10 %, daily, four arms", Experiment((0.1, 0.11, 0.1, 0.1), four, DAILY), RUNS
    yield "10 %, hourly, twice the effect", Experiment((0.1, 0.12), n), FEWER


def main() -> int:
    """Print every case; 1 if one misses its bar."""
    is_held = True
    for name, experiment, bound, runs in without_difference():
        found = errors(experiment, bound, runs)
        is_within = found.null_found <= most_errors(runs)
        is_held &= _show("no difference", name, runs, experiment, asdict(found), is_within)
    for name, experiment, bound in without_promise():
        _show("no difference", name, RUNS, experiment, asdict(errors(experiment, bound, RUNS)))
    for name, experiment, runs in with_effect():
        gained = gains(experiment, runs)
        is_within = _is_kept(gained, is_twice="twice" in name)
        is_held &= _show("an effect", name, runs, experiment, asdict(gained), is_within)
    for name, experiment, bound, method, runs in before_the_rule():
        apart = differing(experiment, bound, method, runs, SEED)
        figures = {"differing": len(apart), "first": apart[:1]}
        is_held &= _show("the rule itself", name, runs, experiment, figures, not apart)
    return 0 if is_held else 1


def _is_kept(found: Gains, *, is_twice: bool) -> bool:
    if is_twice:
        return found.mean_stop <= MOST_STOP_TWICE
    return (
        found.power >= POWER - 2 * found.power_se
        and found.mean_stop <= MOST_STOP
        and abs(found.corrected_lift - 1) <= MOST_BIAS
    )


def _show(
    what: str,
    name: str,
    runs: int,
    experiment: Experiment,
    figures: dict[str, Any],
    is_within_bar: bool | None = None,
) -> bool:
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in figures.items()}
    about = {"what": what, "case": name, "values": experiment.values}
    size = {"planned_units": experiment.planned_units, "looks": len(experiment.fractions)}
    drawn = {"replications": runs, "seed": SEED}
    document = about | size | drawn | rounded | {"is_within_bar": is_within_bar}
    print(json.dumps(document), flush=True)
    return is_within_bar is not False


if __name__ == "__main__":
    sys.exit(main())
