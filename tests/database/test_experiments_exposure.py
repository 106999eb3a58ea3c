"""Effects by days since exposure, against the same figures by numpy and scipy from unit rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import Connection, Engine, text

from tasks import jsonb
from tasks.errors import InputError, NotFound
from tasks.experiments.exposure.evidence import Novelty
from tasks.experiments.exposure.gathering import FOLDED, QUERIES, days_query, read_novelty
from tests.database.experiments import fold_now, metric, start

Floats = NDArray[np.float64]
VISITS = metric(
    name="visits", event_type="visit", aggregation="count", kind="count", missing="zero"
)
WHERE = "WHERE e.experiment_name = 'buttons' AND v.variant_name = u.arm"
UNITS = f"""
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch)
SELECT e.id, v.id, u.name, headway.clock_now() - make_interval(secs => u.age), 0, 1
FROM jsonb_to_recordset(CAST(:units AS jsonb)) AS u (name text, arm text, age float8)
CROSS JOIN ab_experiments e JOIN ab_variants v ON v.experiment_id = e.id {WHERE}
"""
EVENTS = """
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                        event_timestamp)
SELECT a.experiment_id, a.variant_id, a.id, u.kind, u.value,
       a.assigned_at + make_interval(secs => u.after)
FROM jsonb_to_recordset(CAST(:events AS jsonb))
    AS u (name text, kind text, value float8, after float8)
JOIN ab_assignments a ON a.user_id = u.name
"""


@dataclass
class World:
    """Units of two arms, ten days old and older, and what they did: name, kind, value, seconds."""

    database: Engine
    rng: np.random.Generator

    def units(self, count: int = 150, days: float = 10) -> list[tuple[str, str]]:
        made = [(f"{arm}-{n}", arm) for arm in ("control", "red") for n in range(count)]
        rows = [
            {"name": name, "arm": arm, "age": 86_400 * (days + self.rng.uniform(0.1, 0.9))}
            for name, arm in made
        ]
        self.say(UNITS, units=jsonb.dump(rows))
        return made

    def events(self, rows: Sequence[tuple[str, str, float | None, float]]) -> None:
        fields = ("name", "kind", "value", "after")
        self.say(EVENTS, events=jsonb.dump([dict(zip(fields, row, strict=True)) for row in rows]))

    def say(self, sql: str, **values: Any) -> None:
        with self.database.begin() as tx:
            tx.execute(text(sql), values)

    def novelty(self, days: int | None = None) -> Novelty:
        with self.database.begin() as tx:
            self.fold(tx)
        with self.database.connect() as connection:
            return read_novelty(connection, "buttons", days)

    def fold(self, tx: Connection) -> None:
        identity = tx.scalar(
            text("SELECT id FROM ab_experiments WHERE experiment_name = 'buttons'")
        )
        fold_now(str(identity))


@pytest.fixture
def world(database: Engine) -> World:
    return World(database, np.random.default_rng(5))


def _counts(world: World, units: list[tuple[str, str]], days: int = 10) -> Floats:
    """Visits of each unit on each day: a bursty habit, and for red what fades."""
    table = np.zeros((len(units), days))
    rows: list[tuple[str, str, float | None, float]] = []
    for place, (name, arm) in enumerate(units):
        habit = world.rng.gamma(2, 0.3)
        for day in range(days):
            extra = 0.9 * 0.6**day if arm == "red" else 0.0
            table[place, day] = world.rng.poisson(habit + extra)
            seconds = 86_400 * (day + world.rng.uniform(0, 1, int(table[place, day])))
            rows += [(name, "visit", None, float(second)) for second in seconds]
    world.events(rows)
    return table


def test_counts_by_day_and_their_trend_are_those_of_unit_rows(world: World) -> None:
    start(metric=VISITS)
    units = world.units()
    table = _counts(world, units)
    red = np.array([arm == "red" for _, arm in units])
    found = world.novelty()
    assert (found.problem, found.first_day, found.followed_days) == ("", 0, 10)
    assert found.units == {"control": 150, "red": 150}
    for each in found.days:
        pair = table[red, each.day], table[~red, each.day]
        welch = stats.ttest_ind(*pair, equal_var=False)
        assert each.difference == pytest.approx(pair[0].mean() - pair[1].mean())
        assert (each.lower, each.upper) == pytest.approx(tuple(welch.confidence_interval()))
        assert (each.units, each.control_units) == (150, 150)
    # Each unit's own straight line over its days; its slope is one figure a unit.
    slopes = np.polyfit(np.arange(10), table.T, 1)[0]
    expected = stats.ttest_ind(slopes[red], slopes[~red], equal_var=False)
    (trend,) = found.trends
    assert trend.change == pytest.approx(9 * (slopes[red].mean() - slopes[~red].mean()))
    assert trend.p_value == pytest.approx(expected.pvalue)
    interval = 9 * np.array(expected.confidence_interval())
    assert (trend.lower, trend.upper) == pytest.approx(tuple(interval))
    assert trend.outcome == "fades"
    gaps = table[red].mean(0) - table[~red].mean(0)
    assert (trend.early, trend.late) == pytest.approx((gaps[:4].mean(), gaps[-4:].mean()))
    assert trend.average == pytest.approx(table[red].mean() - table[~red].mean())


def test_days_are_24_hours_from_the_assignment_and_the_rest_is_left_out(world: World) -> None:
    start(metric=VISITS)
    world.units(count=100, days=5)
    day = 86_400.0
    world.events(
        [
            ("red-0", "visit", None, 0.0),
            ("red-0", "visit", None, day - 0.001),
            ("red-1", "visit", None, day),
            ("red-2", "visit", None, 5 * day - 1),
            ("red-3", "visit", None, 5 * day),
            ("red-4", "visit", None, -1.0),
            ("red-5", "buy", 7.0, 1.0),
        ]
    )
    found = world.novelty()
    assert found.followed_days == 5
    assert [each.value for each in found.days] == pytest.approx([0.02, 0.01, 0, 0, 0.01])
    assert [each.day for each in found.days] == [0, 1, 2, 3, 4]
    shorter = world.novelty(days=3)
    assert [each.value for each in shorter.days] == pytest.approx([0.02, 0.01, 0])
    longer = world.novelty(days=6)  # nobody has been there for so long
    assert longer.units == {"control": 0, "red": 0}
    assert longer.trends[0].outcome == "unknown"


def test_only_units_that_were_followed_for_all_days_are_compared(world: World) -> None:
    start(metric=VISITS)
    world.units(count=120, days=6)
    late = [{"name": f"late-{n}", "arm": "red", "age": 86_400 * 2.0} for n in range(50)]
    world.say(UNITS, units=jsonb.dump(late))
    world.events([(f"late-{n}", "visit", None, 5.0) for n in range(50)])
    chosen = [{"name": "chosen", "arm": "red", "age": 86_400 * 9.0}]
    world.say(UNITS, units=jsonb.dump(chosen))
    world.say("UPDATE ab_assignments SET is_override = true WHERE user_id = 'chosen'")
    found = world.novelty()
    assert (found.followed_days, found.units_in_all) == (6, 290)
    assert found.units == {"control": 120, "red": 120}
    assert found.days[0].value == 0


def test_ratios_by_day_follow_the_delta_method(world: World) -> None:
    buys = metric(kind="ratio", event_type="buy", aggregation="sum")
    buys |= {"name": "per visit", "denominator_event_type": "visit"}
    buys |= {"denominator_aggregation": "count"}
    start(metric=buys)
    units = world.units(days=4)
    rng = world.rng
    visits = rng.integers(0, 4, (len(units), 4)).astype(float)
    spent = np.where(rng.uniform(size=visits.shape) < 0.5, rng.gamma(2, 3, visits.shape), 0.0)
    rows: list[tuple[str, str, float | None, float]] = []
    for (name, _), visited, paid in zip(units, visits, spent, strict=True):
        for day in range(4):
            rows += [
                (name, "visit", None, 86_400 * day + 60.0 + n) for n in range(int(visited[day]))
            ]
            if paid[day]:
                rows.append((name, "buy", float(paid[day]), 86_400 * day + 900.0))
    world.events(rows)
    spent[visits == 0] = 0  # a unit without a denominator has no value that day
    red = np.array([arm == "red" for _, arm in units])
    found = world.novelty()

    def arm(which: NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
        y, x = spent[which], visits[which]
        ratios = y.sum(0) / x.sum(0)
        weights = (np.arange(4) - 1.5) / 5
        parts = ((y - ratios * x) / x.mean(0)) @ weights
        return ratios, parts, float(weights @ ratios)

    (of_red, red_parts, red_slope), (of_control, parts, slope) = arm(red), arm(~red)
    assert [each.value for each in found.days] == pytest.approx(list(of_red))
    assert [each.control_value for each in found.days] == pytest.approx(list(of_control))
    (trend,) = found.trends
    assert trend.change == pytest.approx(3 * (red_slope - slope))
    error = sqrt(red_parts.var(ddof=1) / red.sum() + parts.var(ddof=1) / (~red).sum())
    assert (trend.upper or 0) - (trend.lower or 0) == pytest.approx(2 * 1.96 * 3 * error, rel=0.01)


def test_means_of_who_bought_leave_the_others_out(world: World) -> None:
    start()
    units = world.units(count=110, days=3)
    values = world.rng.gamma(3, 4, (len(units), 3))
    bought = world.rng.uniform(size=values.shape) < 0.8
    world.events(
        [
            (name, "buy", float(values[place, day]), 86_400 * day + 5.0)
            for place, (name, _) in enumerate(units)
            for day in range(3)
            if bought[place, day]
        ]
    )
    red = np.array([arm == "red" for _, arm in units])
    found = world.novelty()
    for each in found.days:
        seen = red & bought[:, each.day]
        assert each.units == seen.sum()
        assert each.value == pytest.approx(values[seen, each.day].mean())
    assert found.trends[0].p_value is not None


def test_rates_have_the_interval_of_rates_and_capped_values_are_cut(world: World) -> None:
    start(metric=metric(kind="proportion", name="bought", aggregation="any", missing="zero"))
    world.units(count=200, days=3)
    world.events([(f"red-{n}", "buy", None, 10.0 + 86_400 * (n % 3)) for n in range(60)] * 2)
    found = world.novelty()
    assert [each.value for each in found.days] == pytest.approx([0.1] * 3)
    assert (found.days[0].lower or 0) > 0


def test_windows_bound_the_days(world: World) -> None:
    window = {"window_start_hours": 20, "window_hours": 121}
    start(metric=VISITS | window)
    world.units(count=100, days=9)
    world.events([("red-0", "visit", None, 21 * 3600.0), ("red-0", "visit", None, 25 * 3600.0)])
    found = world.novelty()
    assert [each.day for each in found.days] == [1, 2, 3, 4]
    assert [each.value for each in found.days] == pytest.approx([0.01, 0, 0, 0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": VISITS | {"window_hours": 48}}, "window has fewer than 3 whole days"),
        (
            {"metric": metric(kind="quantile", quantile=0.5)},
            "the value of a quantile is not made up of days",
        ),
    ],
)
def test_what_has_no_days_says_so(world: World, changes: dict[str, Any], said: str) -> None:
    start(**changes)
    world.units(count=3, days=9)
    found = world.novelty()
    assert said in found.problem
    assert (found.days, found.trends) == ((), ())


def test_too_early_and_no_units_are_unknown(world: World) -> None:
    start(metric=VISITS)
    assert "is not known" in world.novelty().problem
    world.units(count=120, days=2)
    assert "have not been there for 3 days" in world.novelty().problem
    with world.database.connect() as connection:
        assert "is not known" not in read_novelty(connection, "buttons", 3).problem
    with world.database.connect() as connection:
        with pytest.raises(NotFound, match="headway experiment list"):
            read_novelty(connection, "nothing")
        with pytest.raises(InputError, match="3 days or more"):
            read_novelty(connection, "buttons", 2)


def test_figures_too_large_for_doubles_are_unknown_and_the_rest_of_the_report_goes_on(
    world: World,
) -> None:
    ratio = {"denominator_event_type": "visit", "denominator_aggregation": "sum"}
    start(metric=metric(kind="ratio", event_type="buy") | ratio)
    units = world.units(count=110, days=3)
    world.events([(name, "visit", 1e-139, 5.0) for name, _ in units])
    world.events([(name, "buy", 9e139 + n, 5.0) for n, (name, _) in enumerate(units)])
    with world.database.begin() as tx:
        world.fold(tx)
    with world.database.connect() as connection:
        assert read_novelty(connection, "buttons").problem == "its figures are too large to compare"
        assert connection.scalar(text("SELECT 1")) == 1


def test_every_query_can_be_planned(database: Engine) -> None:
    aggregations = [
        name.removeprefix("value_by_") for name in FOLDED if name.startswith("value_by_")
    ]
    queries = [days_query(name, name) for name in aggregations]
    queries += [query for name, query in QUERIES.items() if name != "exposure_days"]
    with database.begin() as tx:
        for query in queries:
            asked = dict.fromkeys(query.compile().params)
            tx.execute(text(f"EXPLAIN {query.text}"), asked)
