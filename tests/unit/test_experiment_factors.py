"""The effects of factors on a metric: adjusted, standardised, early, unknown; and their error."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray

from tasks.experiments.decision.evidence import Arm, Cell, Epoch, Measured, Pair
from tasks.experiments.definition.files import as_plan
from tasks.experiments.definition.planning import main_effect_sample
from tasks.experiments.definition.sample import Baseline
from tasks.experiments.multivariate.cells import cell_estimates
from tasks.experiments.multivariate.effects import MetricEffects, metric_effects
from tasks.experiments.statistics.factorial_designs import (
    Design,
    Factor,
    fractional_factorial,
    full_factorial,
)

Floats = NDArray[np.float64]
TWO = full_factorial([Factor("price", ("low", "high")), Factor("color", ("red", "blue"))])
SEED = 20261121
PLANNED = {
    "name": "offer",
    "metric": {"name": "orders", "kind": "proportion", "event_type": "order"},
    "factors": [
        {"name": "price", "levels": ["low", "high"]},
        {"name": "color", "levels": ["red", "blue"]},
    ],
    "planned_sample_size": 1,
    "minimum_effect": 0.1,
}


def names(design: Design) -> dict[tuple[str, ...], str]:
    return {cell: "-".join(cell) for cell in design.cells}


def pair(values: Floats, others: Floats) -> Pair:
    gaps = others - others.mean()
    return Pair(mean=others.mean(), m2=(gaps**2).sum(), c2=((values - values.mean()) * gaps).sum())


def told(values: Floats, covariates: Floats | None = None) -> dict[str, Any]:
    return {
        "n": len(values),
        "mean": values.mean() if len(values) else 0.0,
        "m2": ((values - values.mean()) ** 2).sum() if len(values) else 0.0,
        "covariate": None if covariates is None else pair(values, covariates),
    }


def measured(cells: list[dict[str, Any]], design: Design = TWO, **changes: Any) -> Measured:
    arms = [
        Arm(name=name, weight=1 / len(cells), assigned=cell["n"], **cell)
        for name, cell in zip(names(design).values(), cells, strict=True)
    ]
    fields = {"name": "spend", "role": "primary", "kind": "mean"} | changes
    return Measured(control=arms[0], treatments=tuple(arms[1:]), **fields)


def effects(metric: Measured, design: Design = TWO, minimum: int = 2) -> MetricEffects:
    return metric_effects(
        metric, design, names(design), planned_units=4000, minimum_per_arm=minimum
    )


def drawn(sizes: tuple[int, ...] = (50, 60, 70, 80), seed: int = SEED) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [rng.normal(10 + number, 2, size) for number, size in enumerate(sizes)]


def test_what_may_be_read_at_every_look_is_a_sequence_shared_by_the_family() -> None:
    found = effects(measured([told(values) for values in drawn()]))
    high, blue = found.main
    (both,) = found.interactions
    for effect, size in ((high, 2), (blue, 2), (both, 1)):
        half = (effect.sequential_upper or 0.0) - (effect.difference or 0.0)
        # Source: Waudby-Smith and others (2024), eq. 9 and 161, written out.
        level, error = 0.05 / size, effect.standard_error or 0.0
        rho = sqrt((-2 * np.log(level) + np.log(1 - 2 * np.log(level))) / 4000)
        spread = 260 * rho**2
        reach = sqrt(2 * (spread + 1) / spread * np.log(sqrt(spread + 1) / level))
        assert half == pytest.approx(error * reach)
    assert (high.outcome, blue.outcome, both.outcome) == ("better", "better", "open")
    assert high.name == "price: high"
    assert both.name == "price: high × color: blue"


def test_a_result_is_told_just_where_the_interval_of_every_look_leaves_zero() -> None:
    for shift in np.linspace(0, 1.5, 16):
        cells = [values + shift * (n >= 2) - n for n, values in enumerate(drawn((300,) * 4))]
        found = effects(measured([told(values) for values in cells]))
        for effect in (*found.main, *found.interactions):
            ends = effect.sequential_lower or 0.0, effect.sequential_upper or 0.0
            assert (effect.outcome == "open") == (ends[0] <= 0 <= ends[1])


def test_a_lower_value_may_be_the_better_one() -> None:
    cells = [told(values) for values in drawn()]
    assert effects(measured(cells, is_higher_better=False)).main[0].outcome == "harm"


def test_before_each_arm_has_its_minimum_nothing_is_found() -> None:
    found = effects(measured([told(values) for values in drawn()]), minimum=51)
    assert {each.outcome for each in found.main} == {"open"}
    assert {each.sequential_lower for each in found.main} == {None}
    assert all(each.adjusted_p_value is not None for each in found.main)


def test_a_covariate_explains_what_it_can_of_all_cells_by_one_slope() -> None:
    """Against least squares with a dummy for each cell and the covariate."""
    rng = np.random.default_rng(SEED)
    before = [rng.normal(5, 3, 400) for _ in range(4)]
    values = [2 * x + rng.normal(number == 3, 1, 400) for number, x in enumerate(before)]
    found = effects(measured([told(v, x) for v, x in zip(values, before, strict=True)]))
    plain = effects(measured([told(v) for v in values]))
    columns = np.column_stack([np.repeat(np.eye(4), 400, axis=0), np.concatenate(before)])
    fit = sm.OLS(np.concatenate(values), columns).fit()
    expected = fit.t_test([-0.5, -0.5, 0.5, 0.5, 0])
    high = found.main[0]
    assert high.difference == pytest.approx(expected.effect[0], abs=0.02)
    assert high.standard_error == pytest.approx(expected.sd[0, 0], rel=0.05)
    assert (high.standard_error or 0) < 0.2 * (plain.main[0].standard_error or 0)


def test_over_epochs_each_arm_is_weighed_by_the_traffic_of_all() -> None:
    rng = np.random.default_rng(SEED)
    sizes = [(40, 40, 40, 40), (1, 10, 60, 60), (20, 20, 100, 100)]
    held = [
        [rng.normal(10 * day + arm, 2, n) for arm, n in enumerate(s)] for day, s in enumerate(sizes)
    ]
    arms = list(names(TWO).values())
    epochs = tuple(
        Epoch(
            number=number,
            traffic=sum(len(values) for values in day),
            arms={arm: Cell(**told(values)) for arm, values in zip(arms, day, strict=True)},
        )
        for number, day in enumerate(held, 1)
    )
    pooled = [told(np.concatenate(cell)) for cell in zip(*held, strict=True)]
    found = cell_estimates(measured(pooled, epochs=epochs))
    # The second epoch has one unit of the control: it joins the third.
    late = [np.concatenate(cell) for cell in zip(*held[1:], strict=True)]
    traffic = np.array([160, 131 + 240]) / 531
    for number, arm in enumerate(arms):
        strata = held[0][number], late[number]
        value = sum(w * v.mean() for w, v in zip(traffic, strata, strict=True))
        variance = sum(w**2 * v.var(ddof=1) / len(v) for w, v in zip(traffic, strata, strict=True))
        assert found[arm].value == pytest.approx(value)
        assert found[arm].variance / found[arm].n == pytest.approx(variance, rel=0.02)


def test_epochs_without_all_cells_do_not_count() -> None:
    cells = [told(values) for values in drawn()]
    arms = list(names(TWO).values())
    offered = dict(zip(arms, (Cell(**cell) for cell in cells), strict=True))
    whole = Epoch(number=1, traffic=260, arms=offered)
    partial = Epoch(number=2, traffic=180, arms={**offered, arms[1]: None})
    found = cell_estimates(measured(cells, epochs=(whole, partial)))
    assert found[arms[0]].value == pytest.approx(cells[0]["mean"])
    never = effects(measured(cells, epochs=(partial,)))
    assert never.problem == "the split has moved, and never were all cells on offer at once"


def test_an_empty_cell_makes_unknown_what_needs_it_and_nothing_else() -> None:
    three = full_factorial([Factor("a", ("0", "1", "2")), Factor("b", ("x", "y"))])
    cells = [told(values) for values in drawn((50,) * 6)]
    cells[5] = told(np.array([]))
    found = effects(measured(cells, three), three, minimum=0)
    assert [each.outcome == "unknown" for each in found.main] == [False, True, True]
    assert found.main[1].missing == ("2-y",)


def test_kinds_that_are_compared_in_pairs_only_say_so() -> None:
    cells = [told(values) for values in drawn()]
    assert effects(measured(cells, kind="ratio")).problem == ""
    problem = "a metric of kind log_ratio is compared arm by arm only"
    assert effects(measured(cells, kind="log_ratio")).problem == problem
    assert effects(measured(cells, problem="not folded")).problem == "not folded"


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e150, 1e155, 1e300])
@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_figures_of_any_size_are_told_or_unknown(size: float, kind: str) -> None:
    largest = 1e308
    cells = []
    for cell in (told(values) for values in drawn()):
        mean, m2 = cell["mean"] * size, min(float(cell["m2"]) * size, largest / size) * size
        other = Pair(mean=mean, m2=m2, c2=m2 / 2)
        beside = {"denominator" if kind == "ratio" else "covariate": other}
        cells.append({"n": cell["n"], "mean": mean, "m2": m2, **beside})
    found = effects(measured(cells, kind=kind))
    assert found.problem or {effect.outcome for effect in found.main} <= {"open", "unknown"}


def test_of_a_fraction_each_effect_names_its_aliases() -> None:
    factors = [Factor(name, ("0", "1")) for name in ("price", "color", "size")]
    design = fractional_factorial(factors, ["C=-AB"])
    found = effects(measured([told(values) for values in drawn()], design), design)
    assert [each.same_as for each in found.main] == [
        ("-(color × size)",),
        ("-(price × size)",),
        ("-(price × color)",),
    ]


def test_factors_without_an_effect_are_seldom_called_found_however_often_one_looks() -> None:
    """60 designs of 2 × 2 at 8 looks; the family errs in at most 5 % of them (+ 2 SE)."""
    rng, runs, per_look = np.random.default_rng(SEED), 60, 100
    wrong = {"main": 0, "interactions": 0, "last": 0}
    for _ in range(runs):
        values = rng.exponential(1.0, (4, 8 * per_look))
        sums, squares = values.cumsum(axis=1), (values**2).cumsum(axis=1)
        seen = [_looked(sums[:, n - 1], squares[:, n - 1], n) for n in range(100, 801, 100)]
        wrong["main"] += any(e.outcome != "open" for look in seen for e in look.main)
        wrong["interactions"] += any(e.outcome != "open" for x in seen for e in x.interactions)
        wrong["last"] += any((e.adjusted_p_value or 1) <= 0.05 for e in seen[-1].main)
    limit = 0.05 + 2 * sqrt(0.05 * 0.95 / runs)
    assert max(wrong.values()) / runs <= limit, wrong


def test_a_main_effect_is_found_with_the_planned_power_by_the_units_that_the_plan_names() -> None:
    plan = as_plan(PLANNED, "the file")
    sizing = plan.sizing(Baseline(mean=0.1))
    units = main_effect_sample(plan, replace(sizing, method="fixed"))
    # By hand, after Fleiss: alpha 0.05 / 2 effects is z 2.2414, power 0.8 is z 0.8416.
    by_hand = (2.2414 * sqrt(2 * 0.105 * 0.895) + 0.8416 * sqrt(0.09 + 0.11 * 0.89)) ** 2 / 0.01**2
    assert units == pytest.approx(2 * by_hand, rel=1e-3)
    assert main_effect_sample(plan, replace(sizing, method="confidence_sequence")) > 1.5 * units
    rng, runs, per_cell = np.random.default_rng(SEED), 300, units // 4
    rates = [0.1, 0.1, 0.11, 0.11]
    found = 0
    for _ in range(runs):
        conversions = rng.binomial(per_cell, rates)
        seen = _looked(conversions, conversions, per_cell, kind="proportion")
        found += (seen.main[0].adjusted_p_value or 1) <= 0.05
    error = sqrt(0.8 * 0.2 / runs)
    # Holm tests one of the two effects by the whole of alpha: a little more power than planned.
    assert 0.8 - 3 * error <= found / runs <= 0.83 + 3 * error


def _looked(sums: Any, squares: Any, n: int, **changes: Any) -> MetricEffects:
    cells = [
        {"n": n, "mean": total / n, "m2": square - total**2 / n}
        for total, square in zip(sums.tolist(), squares.tolist(), strict=True)
    ]
    return effects(measured(cells, **changes), minimum=100)
