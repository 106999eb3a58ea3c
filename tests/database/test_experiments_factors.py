"""What each factor does, told from what units did: against least squares on the raw rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sqlalchemy import Engine, text

from tasks.errors import InputError, NotFound
from tasks.experiments.assignment.allocation import reallocate
from tasks.experiments.definition.plan import ExperimentPlan
from tasks.experiments.multivariate.effects import EffectFigures, MetricEffects
from tasks.experiments.reporting.detailed import read_report
from tasks.experiments.reporting.factors import FactorReport, read_factors
from tasks.experiments.reporting.formats import rendered
from tests.database.experiments import (
    DAY,
    assignment,
    event,
    load,
    look,
    metric,
    plan,
    start,
)

TWO = [{"name": "price", "levels": ["low", "high"]}, {"name": "color", "levels": ["red", "blue"]}]
DESIGN: dict[str, Any] = {"variants": [], "factors": TWO, "metric": metric(missing="zero")}
CELLS = [(price, color) for price in ("low", "high") for color in ("red", "blue")]
Spent = list[tuple[str, str, float]]


def spent(per_cell: int = 60, seed: int = 7) -> Spent:
    """A high price adds 3 to what a unit spends, blue nothing; 2 more where both are."""
    rng = np.random.default_rng(seed)
    return [
        (price, color, 10 + 3 * (price == "high") + extra)
        for number, (price, color) in enumerate(CELLS)
        for extra in rng.normal(2.0 * ((price, color) == ("high", "blue")), 2, per_cell + number)
    ]


def means(values: Spent) -> float:
    """How much more is spent at a high price, the cells counted alike."""
    cells = [np.mean([value for p, c, value in values if (p, c) == cell]) for cell in CELLS]
    return float(cells[2] + cells[3] - cells[0] - cells[1]) / 2


def loaded(folder: Path, values: Spent, day: int = 1, start_at: int = 0) -> None:
    rows = []
    for number, (price, color, value) in enumerate(values, start_at):
        user, arm = f"u{number}", f"price={price},color={color}"
        rows += [
            assignment(user, arm, assigned_at=f"{DAY}{day}T00:00:00Z"),
            event(user, value, f"e{number}", event_timestamp=f"{DAY}{day}T12:00:00Z"),
        ]
    load(folder, rows, name=f"rows{start_at}")


def factors(database: Engine, name: str = "buttons") -> FactorReport:
    with database.connect() as connection:
        return read_factors(connection, name)


def named(metric: MetricEffects) -> dict[str, EffectFigures]:
    return {each.name: each for each in (*metric.main, *metric.interactions)}


def test_effects_are_those_of_least_squares_on_the_raw_rows(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(**DESIGN)
    values = spent()
    loaded(tmp_path, values)
    look(experiment)
    (found,) = factors(database).metrics
    column = [CELLS.index((price, color)) for price, color, _ in values]
    fit = sm.OLS([value for *_, value in values], np.eye(4)[column]).fit(cov_type="HC2")
    for name, contrast in (
        ("price: high", [-0.5, -0.5, 0.5, 0.5]),
        ("color: blue", [-0.5, 0.5, -0.5, 0.5]),
        ("price: high × color: blue", [1, -1, -1, 1]),
    ):
        expected, effect = fit.t_test(contrast), named(found)[name]
        assert effect.difference == pytest.approx(expected.effect[0])
        assert effect.standard_error == pytest.approx(expected.sd[0, 0])
        z = expected.effect[0] / expected.sd[0, 0]
        assert effect.p_value == pytest.approx(2 * stats.t.sf(abs(z), len(values) - 4), rel=0.05)
    outcomes = {name: effect.outcome for name, effect in named(found).items()}
    assert outcomes["price: high"] == "better"
    assert found.units == len(values)
    low = [value for price, _, value in values if price == "low"]
    assert next(each for each in found.levels if each.level == "low").units == len(low)


def test_the_report_has_the_factors_and_each_form_tells_them(
    database: Engine, tmp_path: Path
) -> None:
    experiment = start(**DESIGN)
    loaded(tmp_path, spent())
    look(experiment)
    report = factors(database)
    page = rendered(report, "markdown")
    assert "All 4 cells are tried: no two effects are confused." in page
    assert page.count("data:image/svg+xml") == 2
    assert "| price: high |" in page
    assert "significantly better" in page
    document = json.loads(rendered(report, "json"))
    assert document["metrics"][0]["main"][0]["factors"] == ["price"]
    rows = list(csv.DictReader(io.StringIO(rendered(report, "csv"))))
    assert [row["effect"] for row in rows] == [
        "price: high",
        "color: blue",
        "price: high × color: blue",
    ]
    with database.connect() as connection:
        whole = read_report(connection, "buttons")
    assert whole.factors is not None
    assert whole.factors.metrics == report.metrics
    assert "## Factors" in whole.as_markdown()


def test_of_a_fraction_what_it_confuses_is_told_beside_the_figures(
    database: Engine, tmp_path: Path
) -> None:
    third = {"name": "size", "levels": ["s", "m"]}
    experiment = start(**DESIGN | {"factors": [*TWO, third], "generators": ["C=-AB"]})
    arms = [arm.name for arm in planned(DESIGN, third).variants]
    rows = []
    for number in range(80):
        arm = arms[number % 4]
        rows += [
            assignment(f"u{number}", arm),
            event(f"u{number}", 10.0 + number % 9, f"e{number}"),
        ]
    load(tmp_path, rows)
    look(experiment)
    report = factors(database)
    (found,) = report.metrics
    assert report.resolution == 3
    assert [effect.same_as for effect in found.main] == [
        ("-(color × size)",),
        ("-(price × size)",),
        ("-(price × color)",),
    ]
    assert {effect.outcome for effect in found.interactions} == {"unknown"}
    assert "Not told apart: A = -BC; B = -AC; C = -AB." in rendered(report, "markdown")


def planned(design: dict[str, Any], third: dict[str, Any]) -> ExperimentPlan:
    return plan(**design | {"factors": [*TWO, third], "generators": ["C=-AB"]})


def test_a_split_that_moved_is_told_within_its_epochs(database: Engine, tmp_path: Path) -> None:
    """On the second day everybody spends 20 more, and most units come to the high price."""
    experiment = start(**DESIGN)
    loaded(tmp_path, spent())
    with database.begin() as tx:
        weights = dict(zip(ARMS, (0.1, 0.1, 0.4, 0.4), strict=True))
        reallocate(tx, UUID(experiment), weights, "ada", "more of it")
        tx.execute(text("UPDATE allocation SET started_at = '2026-01-02' WHERE epoch = 2"))
    rng = np.random.default_rng(3)
    second = [
        (price, color, 30 + 3 * (price == "high") + noise)
        for price, color in CELLS
        for noise in rng.normal(0, 2, 120 if price == "high" else 30)
    ]
    loaded(tmp_path, second, day=2, start_at=1000)
    look(experiment)
    (found,) = factors(database).metrics
    (first, later) = (means(spent()), means(second))
    share = len(spent()) / (len(spent()) + len(second))
    expected = share * first + (1 - share) * later
    assert named(found)["price: high"].difference == pytest.approx(expected)
    assert means([*spent(), *second]) > expected + 5  # pooled
    assert named(found)["color: blue"].outcome == "open"


ARMS = [f"price={price},color={color}" for price, color in CELLS]


def test_every_sort_of_metric_is_told_or_says_why_not(database: Engine, tmp_path: Path) -> None:
    others = [
        metric(name="orders", kind="count", aggregation="count", missing="zero"),
        metric(name="bought", kind="proportion", aggregation="any", missing="zero"),
        metric(
            name="each",
            kind="ratio",
            aggregation="sum",
            denominator_event_type="buy",
            denominator_aggregation="count",
        ),
        metric(name="median", kind="quantile", aggregation="sum", quantile=0.5),
        metric(name="never", event_type="cry", aggregation="count"),
    ]
    experiment = start(**DESIGN, secondary_metrics=others)
    values = spent()
    loaded(tmp_path, values)
    look(experiment)
    found = {each.name: each for each in factors(database).metrics}
    assert list(found) == ["spend", "bought", "each", "median", "never", "orders"]
    high = named(found["each"])["price: high"]
    assert high.difference == pytest.approx(named(found["spend"])["price: high"].difference)
    low_red, low_blue, high_red, high_blue = (
        np.median([v for p, c, v in values if (p, c) == cell]) for cell in CELLS
    )
    expected = (high_red + high_blue - low_red - low_blue) / 2
    assert named(found["median"])["price: high"].difference == pytest.approx(expected)
    assert named(found["bought"])["price: high"].p_value is None  # everybody bought: no variance
    assert named(found["never"])["price: high"].outcome == "unknown"
    assert len(named(found["never"])["price: high"].missing) == 4


def test_before_a_look_or_the_end_of_a_single_test_nothing_is_read_into_it(
    database: Engine, tmp_path: Path
) -> None:
    ends = {"method": "fixed", "ends_at": "2099-01-01T00:00:00Z", "minimum_sample_size": 100}
    experiment = start(**DESIGN | ends)
    assert factors(database).note == "It has not been looked at yet; the next hourly run does."
    assert "| A | price | low | high |" in rendered(factors(database), "markdown")
    loaded(tmp_path, spent())
    look(experiment)
    report = factors(database)
    assert report.note.startswith("At this look nothing was tested, so read nothing into it: ")
    (found,) = report.metrics
    assert {effect.outcome for effect in found.main} == {"open"}  # each cell has fewer than 100
    assert {effect.sequential_p_value for effect in found.main} == {None}


def test_an_experiment_without_factors_says_so(database: Engine) -> None:
    start()
    with pytest.raises(InputError, match="buttons is no multivariate design: its plan has no fact"):
        factors(database)
    with pytest.raises(NotFound, match="no experiment is called 'nobody'"):
        factors(database, "nobody")
    with database.connect() as connection:
        assert read_report(connection, "buttons").factors is None
