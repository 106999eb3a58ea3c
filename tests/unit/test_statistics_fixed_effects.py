"""Arms plus epochs: against ordinary regression, and where the mood changes with the split."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from benchmarks.allocating import Bandit, run
from tasks.experiments.statistics.fixed_effects import ArmUnits, Equations


def test_differences_and_their_errors_are_those_of_a_regression() -> None:
    """One row a unit, an indicator for every arm and epoch: statsmodels' least squares."""
    random = np.random.default_rng(20261122)
    n = random.integers(0, 9, (6, 4))
    n[:2, 3] = 0  # an arm that came later
    cells = np.argwhere(n > 0)
    epoch, arm = np.repeat(cells, n[n > 0], axis=0).T
    values = random.normal(2 * epoch + 0.3 * arm)
    design = np.column_stack([epoch[:, None] == range(6), arm[:, None] == range(1, 4)])
    fitted = sm.OLS(values, design.astype(float)).fit()

    found = Equations.of(_cells(n, epoch, arm, values)).total().solve()

    most = int(n.sum(axis=0).argmax())
    effects = np.append(0.0, fitted.params[6:])
    assert found.mean - found.mean[most] == pytest.approx(effects - effects[most])
    assert (found.mean * n.sum(axis=0)).sum() == pytest.approx(values.sum())
    covariance = np.zeros((4, 4))
    covariance[1:, 1:] = fitted.cov_params()[6:, 6:] / fitted.scale
    for each in {0, 1, 2, 3} - {most}:
        error = covariance[each, each] + covariance[most, most] - 2 * covariance[each, most]
        assert 1 / found.n[each] + 1 / found.n[most] == pytest.approx(error)
    assert found.n[most] == n.sum(axis=0)[most]


def _cells(n: np.ndarray, epoch: np.ndarray, arm: np.ndarray, values: np.ndarray) -> ArmUnits:
    mean, m2 = np.zeros(n.shape), np.zeros(n.shape)
    for place in np.ndindex(n.shape):
        here = values[(epoch == place[0]) & (arm == place[1])]
        if len(here):
            mean[place], m2[place] = here.mean(), ((here - here.mean()) ** 2).sum()
    return ArmUnits(n.astype(float), mean, m2)


def test_one_epoch_is_as_it_was_counted() -> None:
    epoch = ArmUnits(np.array([90.0, 10.0, 0.0]), np.array([0.2, 0.4, 0.0]), np.array([9.0, 2, 0]))
    found = Equations.of(epoch).solve()
    assert found.n == pytest.approx([90, 10, 0])
    assert found.mean[:2] == pytest.approx([0.2, 0.4])
    assert found.m2 == pytest.approx([9, 2, 0])


def test_an_arm_with_more_traffic_in_good_times_is_no_better_for_it() -> None:
    """Half of 30 % and then nearly all of 8 %, or the other way round: the arms are alike."""
    n = np.array([[500.0, 500.0], [1800.0, 200.0]])
    mean = np.array([[0.3, 0.3], [0.08, 0.08]])
    found = Equations.of(ArmUnits(n, mean, n * mean * (1 - mean))).total().solve()
    assert found.mean[0] == pytest.approx(found.mean[1], abs=1e-12)
    assert found.n[1] < n[:, 1].sum()


def test_a_bandit_is_not_sure_of_arms_that_are_alike_while_rates_rise() -> None:
    """Pooled over the epochs, all of these were sure of one at the end (seed 7: 60 of 60)."""
    course = run(Bandit((0.1, 0.1), rise=2.0), 8, 20261122)
    assert (course.weights.max(axis=1) > 0.95).mean() <= 0.5
