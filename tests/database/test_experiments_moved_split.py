"""Segments and days since exposure of a split that has moved, against figures made with numpy.

Three intakes of other moods and other splits: pooled, red looks far better or worse than it is.
"""

from __future__ import annotations

from math import sqrt
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import Engine, text

from tasks import jsonb
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.exposure.gathering import read_novelty
from tasks.experiments.reporting.exposure_days import read_exposure_report
from tasks.experiments.reporting.segments import read_segments_report
from tasks.experiments.segments.gathering import read_segments
from tests.database.experiments import fold_now, metric, start

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SPLITS, MOODS = ((120, 120), (40, 200), (200, 40)), (0.2, 1.4, 0.4)
DAYS = 4
VISITS = metric(
    name="visits", event_type="visit", aggregation="count", kind="count", missing="zero"
)
BOUGHT = metric(name="bought", kind="proportion", aggregation="any", missing="zero")
A_VISIT = metric(name="a visit", kind="ratio", aggregation="sum") | {
    "denominator_event_type": "visit",
    "denominator_aggregation": "count",
}
UNITS = """
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch,
                            metadata)
SELECT v.experiment_id, v.id, u.name, headway.clock_now() - make_interval(days => 30 - u.epoch), 0,
       u.epoch, jsonb_build_object('device', u.device)
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u (name text, arm text, epoch int, device text)
JOIN ab_variants v ON v.variant_name = u.arm
WHERE v.experiment_id = CAST(:id AS uuid)
"""
EVENTS = """
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                        event_timestamp)
SELECT a.experiment_id, a.variant_id, a.id, u.kind, u.value,
       a.assigned_at + make_interval(days => u.day, hours => 5)
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u (name text, kind text, value float8, day int)
JOIN ab_assignments a ON a.user_id = u.name AND a.experiment_id = CAST(:id AS uuid)
"""


class World:
    """Units as arrays: intake, arm, device; visits and money by day; who bought at all."""

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        sizes = [n for split in SPLITS for n in split]
        self.epoch = np.repeat(np.repeat([0, 1, 2], 2), sizes)
        self.red = np.repeat(np.tile([False, True], 3), sizes)
        self.phone = rng.uniform(size=len(self.red)) < 0.5
        mood = np.array(MOODS)[self.epoch]
        days = np.arange(DAYS)
        # Who came in good times comes less and less; red brings more at first.
        habit = 0.6 + mood[:, None] * (1.5 - 0.25 * days) + 0.8 * self.red[:, None] * 0.4**days
        self.visits = rng.poisson(habit).astype(float)
        gain = np.where(self.red & self.phone, 0.3, 0.0)
        self.bought = rng.uniform(size=len(self.red)) < 0.1 + 0.3 * mood + gain
        spent = rng.gamma(2, 3, self.visits.shape) * (1 + mood[:, None])
        self.spent = np.where(self.visits > 0, spent, 0.0)

    def store(self, engine: Engine, experiment: str, *, is_spent: bool) -> None:
        arms = np.where(self.red, "red", "control")
        names = [f"u-{n}" for n in range(len(self.red))]
        units = zip(names, arms.tolist(), self.epoch.tolist(), self.phone.tolist(), strict=True)
        rows: list[dict[str, Any]] = [
            {"name": name, "kind": "visit", "value": None, "day": day}
            for name, visits in zip(names, self.visits.astype(int).tolist(), strict=True)
            for day, count in enumerate(visits)
            for _ in range(count)
        ]
        if is_spent:
            paid = [(n, day, self.spent[n, day]) for n, day in np.argwhere(self.spent > 0).tolist()]
        else:
            paid = [(n, 0, 1.0) for n in np.flatnonzero(self.bought).tolist()]
        rows += [{"name": names[n], "kind": "buy", "value": x, "day": day} for n, day, x in paid]
        with engine.begin() as tx:
            for number, split in ((2, SPLITS[1]), (3, SPLITS[2])):
                share = split[0] / sum(split)
                weights = {"control": share, "red": 1 - share}
                assert reallocate(tx, UUID(experiment), weights, "ada", "a test") == number
            fields = ("name", "arm", "epoch", "device")
            told = [
                dict(zip(fields, (name, arm, epoch + 1, "phone" if phone else "desk"), strict=True))
                for name, arm, epoch, phone in units
            ]
            tx.execute(text(UNITS), {"rows": jsonb.dump(told), "id": experiment})
            tx.execute(text(EVENTS), {"rows": jsonb.dump(rows), "id": experiment})
        fold_now(experiment)

    def cells(self, values: Floats, among: Bools | None = None) -> list[tuple[Floats, Floats]]:
        """Of control and red, by intake."""
        kept = np.ones_like(self.red) if among is None else among
        return [
            (
                values[kept & (self.epoch == epoch) & ~self.red],
                values[kept & (self.epoch == epoch) & self.red],
            )
            for epoch in range(3)
        ]


def _effect(cells: list[tuple[Floats, Floats]]) -> tuple[Any, Any]:
    """The gaps and their squared errors, intakes weighted by their units."""
    traffic = np.array([len(c) + len(r) for c, r in cells], dtype=float)
    share = traffic / traffic.sum()
    gaps = np.array([red.mean(0) - control.mean(0) for control, red in cells])
    errors = np.array(
        [
            red.var(0, ddof=1) / len(red) + control.var(0, ddof=1) / len(control)
            for control, red in cells
        ]
    )
    return share @ gaps, share**2 @ errors


def _tested(cells: list[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Difference and squared error of the test, of a rate: by the spread of both arms together."""
    n = np.array([(len(c), len(r)) for c, r in cells], dtype=float)
    total, precision = n.sum(1), n.prod(1) / n.sum(1)
    weights = np.sqrt(total * precision)
    weights /= weights.sum()
    spread = np.array([np.concatenate(pair).var(ddof=1) for pair in cells])
    gaps = np.array([red.mean() - control.mean() for control, red in cells])
    return float(weights @ gaps), float(weights**2 @ (spread / precision))


def test_levels_are_compared_within_the_epochs_of_a_split_that_moved(database: Engine) -> None:
    world = World()
    experiment = start(metric=VISITS, secondary_metrics=[BOUGHT], dimensions=["device"])
    world.store(database, experiment, is_spent=False)
    with database.connect() as connection:
        visits, bought = read_segments(connection, "buttons").metrics
        report = read_segments_report(connection, "buttons")
    assert (visits.problem, bought.problem, bought.is_within_epochs) == ("", "", True)
    every = world.visits.sum(1)
    tested = {}
    for each, other in zip(bought.effects, visits.effects, strict=True):
        among = world.phone if each.level == "phone" else ~world.phone
        cells = world.cells(world.bought.astype(float), among)
        difference, error = _effect(cells)
        assert each.difference == pytest.approx(difference)
        half = ((each.upper or 0) - (each.lower or 0)) / 2
        assert half == pytest.approx(1.96 * sqrt(error), rel=0.02)
        tested[each.level] = _tested(cells)
        z = tested[each.level][0] / sqrt(tested[each.level][1])
        assert each.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
        assert each.units == (among & world.red).sum()
        assert each.value == pytest.approx(world.bought[among & world.red].mean())
        # Of a mean the test is judged by the larger of two errors: here they are nearly alike.
        difference, error = _effect(world.cells(every, among))
        assert other.difference == pytest.approx(difference)
        pooled = every[among & world.red].mean() - every[among & ~world.red].mean()
        assert abs(pooled - difference) > 3 * sqrt(error)
    gaps, variances = np.array([*tested.values()]).T
    mean = (gaps / variances).sum() / (1 / variances).sum()
    q = float(((gaps - mean) ** 2 / variances).sum())
    (test,) = bought.tests
    assert test.q == pytest.approx(q)
    assert (test.finding, visits.tests[0].finding) == ("differs", "none-seen")
    assert "within the epochs" in report.as_markdown()


def test_days_are_compared_within_the_epochs_of_a_split_that_moved(database: Engine) -> None:
    world = World()
    world.store(database, start(metric=VISITS), is_spent=False)
    world.store(database, start(name="prices", metric=A_VISIT), is_spent=True)
    with database.connect() as connection:
        found = read_novelty(connection, "buttons", DAYS)
        ratio = read_novelty(connection, "prices", DAYS)
        report = read_exposure_report(connection, "buttons", DAYS)
        assert read_novelty(connection, "buttons", 40).trends[0].outcome == "unknown"  # nobody yet
    gaps, errors = _effect(world.cells(world.visits))
    assert [each.difference for each in found.days] == pytest.approx(list(gaps))
    half = [((each.upper or 0) - (each.lower or 0)) / 2 for each in found.days]
    assert half == pytest.approx(list(1.97 * np.sqrt(errors)), rel=0.02)
    assert found.days[2].value == pytest.approx(world.visits[world.red, 2].mean())
    slopes = np.polyfit(np.arange(DAYS), world.visits.T, 1)[0]
    slope, error = _effect(world.cells(slopes))
    (trend,) = found.trends
    assert trend.change == pytest.approx((DAYS - 1) * slope)
    width = (trend.upper or 0) - (trend.lower or 0)
    assert width == pytest.approx(2 * 1.97 * (DAYS - 1) * sqrt(error), rel=0.02)
    difference, variance = _tested(world.cells(slopes))
    z = stats.norm.isf((trend.p_value or 1) / 2)
    assert z == pytest.approx(abs(difference) / sqrt(variance), rel=0.1)
    assert trend.outcome == "fades"
    assert trend.early == pytest.approx(gaps[:2].mean())
    assert "within the epochs" in report.as_markdown()
    # Pooled, red would have faded far faster than it did, or not at all.
    pooled = slopes[world.red].mean() - slopes[~world.red].mean()
    assert abs(pooled - slope) > 2 * sqrt(error)
    _check_ratio(world, ratio)


def _check_ratio(world: World, found: Any) -> None:
    """Sums are standardised, and then divided; slopes are those of the ratios."""
    has = world.visits > 0
    traffic = np.array([sum(split) for split in SPLITS], dtype=float)
    of_arm = []
    for arm in (0, 1):
        y, x = (
            traffic @ np.array([cell[arm].mean(0) for cell in world.cells(values)])
            for values in (world.spent, world.visits)
        )
        of_arm.append(y / x)
    ratios = of_arm[1] - of_arm[0]
    expected = (DAYS - 1) * np.polyfit(np.arange(DAYS), ratios, 1)[0]
    assert found.trends[0].change == pytest.approx(expected)
    assert found.trends[0].p_value is not None
    day = found.days[1]
    seen = has[:, 1]
    traffic = np.array([(seen & (world.epoch == epoch)).sum() for epoch in range(3)], dtype=float)
    y, x = (
        [traffic @ [cell[arm].mean() for cell in world.cells(v[:, 1], seen)] for arm in (0, 1)]
        for v in (world.spent, world.visits)
    )
    assert day.difference == pytest.approx(y[1] / x[1] - y[0] / x[0])
