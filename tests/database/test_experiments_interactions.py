"""Pairs of experiments on the same units: what is measured, judged, recorded and alerted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import Connection, Engine, text

from tasks.alerts.reading import alerts
from tasks.decisions import replay
from tasks.experiments.interactions import gathering
from tasks.experiments.interactions.gathering import overlapping_pairs, shared_units
from tasks.experiments.interactions.model import Cell
from tasks.experiments.interactions.scanning import InteractionScan, last_scan, record_scan
from tests.database.experiments import metric
from tests.database.layered import UNITS, begin, record

Arms = dict[str, dict[str, str]]
ARMS = text(
    "SELECT a.user_id, e.experiment_name AS experiment, v.variant_name AS arm "
    "FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id "
    "JOIN ab_experiments e ON e.id = a.experiment_id"
)


def two(tx: Connection, effect: Callable[[str, str, np.random.Generator], float]) -> Arms:
    """Two experiments, and one metric in the first that depends on both arms."""
    ids = {name: begin(tx, name) for name in ("buttons", "prices")}
    arms: Arms = {}
    for row in tx.execute(ARMS):
        arms.setdefault(row.user_id, {})[row.experiment] = row.arm
    rng = np.random.default_rng(7)
    values = {u: effect(a["buttons"], a["prices"], rng) for u, a in sorted(arms.items())}
    for experiment_id in ids.values():
        record(tx, experiment_id, values, "buy")
    for unit, value in values.items():
        arms[unit]["value"] = str(value)
    return arms


def scanned(tx: Connection, most: int = 50) -> InteractionScan:
    found = overlapping_pairs(tx, most)
    return record_scan(tx, found.overlapping, shared_units(tx, found.pairs))


def added(first: str, second: str, rng: np.random.Generator) -> float:
    return 10 + (first == "red") + 2 * (second == "red") + float(rng.normal(0, 3))


def crossed(first: str, second: str, rng: np.random.Generator) -> float:
    return added(first, second, rng) - 3 * (first == second == "red")


def test_effects_that_cancel_are_found_and_figures_are_those_of_the_units(
    database: Engine,
) -> None:
    with database.connect() as tx:
        arms = two(tx, crossed)
        scan = scanned(tx)
        [shared] = shared_units(tx, overlapping_pairs(tx, 5).pairs)
        [alert] = alerts(tx, subject="experiments:buttons+prices")
        assert replay(tx, "interactions").differences == ()
    [pair] = scan.pairs
    cells: dict[tuple[str, str], list[float]] = {}
    for each in arms.values():
        cells.setdefault((each["buttons"], each["prices"]), []).append(float(each["value"]))
    for cell in shared.measured[0].cells:
        _is_like(cell, cells[cell.first_arm, cell.second_arm])
    by_hand = _difference_of_differences(cells)
    [difference] = pair.metrics[0].differences
    assert difference.value == pytest.approx(by_hand[0], rel=1e-9)
    # Its z is squared: one degree of freedom. Two metrics are tested, with the same values.
    assert pair.metrics[0].p_value == pytest.approx(stats.chi2.sf(by_hand[1] ** 2, 1), rel=1e-6)
    assert pair.metrics[0].p_adjusted == pytest.approx(2 * (pair.metrics[0].p_value or 0))
    assert (pair.outcome, pair.units) == ("interacts", UNITS)
    assert "red with red gives -" in pair.message
    assert (alert.severity, alert.state, alert.occurrences) == ("warning", "open", 1)
    assert "buttons and prices change each other" in scan.as_markdown()


def _is_like(cell: Cell, values: list[float]) -> None:
    assert cell.n == len(values)
    assert cell.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert cell.m2 == pytest.approx(np.var(values) * len(values), rel=1e-9)


def _difference_of_differences(cells: dict[tuple[str, str], list[float]]) -> tuple[float, float]:
    mean = {arms: np.mean(values) for arms, values in cells.items()}
    error = np.sqrt(sum(np.var(values, ddof=1) / len(values) for values in cells.values()))
    red, plain = "red", "control"
    value = mean[red, red] - mean[red, plain] - mean[plain, red] + mean[plain, plain]
    return float(value), float(value / error)


def test_effects_that_add_up_open_no_alert_and_close_the_one_that_was_open(
    database: Engine,
) -> None:
    with database.connect() as tx:
        two(tx, crossed)
        scanned(tx)
        tx.execute(
            text(
                "UPDATE unit_value u SET value = u.value + 3 FROM ab_assignments a, "
                "ab_assignments b, ab_variants v, ab_variants w "
                "WHERE a.id = u.assignment_id AND b.user_id = a.user_id "
                "AND b.experiment_id <> a.experiment_id AND v.id = a.variant_id "
                "AND w.id = b.variant_id AND v.variant_name = 'red' "
                "AND w.variant_name = 'red'"
            )
        )  # as if it had never been
        once = scanned(tx)
        assert [pair.outcome for pair in once.pairs] == ["adds-up"]
        assert len(alerts(tx)) == 1
        scanned(tx)
        assert alerts(tx) == []
    assert once.telling == ()
    assert "none is seen to interact" in once.summary


def test_the_alert_of_a_pair_is_over_when_one_of_the_two_has_ended(database: Engine) -> None:
    with database.connect() as tx:
        two(tx, crossed)
        scanned(tx)
        end = "UPDATE ab_experiments SET status = 'completed' WHERE experiment_name = 'prices'"
        tx.execute(text(end))
        scan = scanned(tx)
        [alert] = alerts(tx, has_resolved=True)
    assert (scan.pairs, scan.overlapping, alert.state) == ((), 0, "resolved")


def test_what_cannot_be_told_is_said_and_is_no_alarm(database: Engine) -> None:
    median = metric(name="median", kind="quantile", quantile=0.5)
    with database.connect() as tx:
        two(tx, added)
        begin(tx, "small", units=300)
        begin(tx, "slow", metric=median)
        begin(tx, "moved")
        tx.execute(
            text(
                "INSERT INTO allocation (experiment_id, epoch, started_at) SELECT id, 2, now() "
                "FROM ab_experiments WHERE experiment_name = 'moved'"
            )
        )
        scan = scanned(tx)
    told = {(pair.first, pair.second): pair for pair in scan.pairs}
    assert len(scan.pairs) == scan.overlapping == 10
    assert told["buttons", "prices"].outcome == "adds-up"
    assert told["buttons", "small"].outcome == "unknown"
    assert "fewer than 100 units" in told["buttons", "small"].message
    assert "the split of moved has moved" in told["buttons", "moved"].message
    assert scan.telling == ()
    page = scan.as_markdown()
    assert "- the split of moved has moved, and a trend" in page
    assert ": buttons and small; " in page


def test_only_so_many_pairs_are_looked_at_and_it_is_said(database: Engine) -> None:
    with database.connect() as tx:
        two(tx, added)
        begin(tx, "small", units=500)
        found = overlapping_pairs(tx, 1)
        assert (len(found.pairs), found.overlapping) == (1, 3)
        scan = scanned(tx, most=1)
    assert [pair.name for pair in scan.pairs] == ["buttons and prices"]
    assert (scan.left_out, scan.overlapping) == (2, 3)
    assert "2 more share fewer units and were not looked at" in scan.summary


def test_many_units_are_counted_in_a_sample(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect() as tx:
        two(tx, added)
        monkeypatch.setattr(gathering, "COUNTED_UNITS", 800)
        asked = {"most": 5, "counted_units": 800}
        [row] = tx.execute(gathering.QUERIES["overlapping_pairs"], asked)
        assert row.units == pytest.approx(UNITS, rel=0.2)
        assert row.units % 4 == 0
        assert len(overlapping_pairs(tx, 5).pairs) == 1


def test_arms_that_go_together_by_a_rule_are_told(database: Engine) -> None:
    with database.connect() as tx:
        two(tx, added)
        # As if both had one salt: three quarters of the units have the same arm in both.
        tx.execute(
            text(
                "UPDATE ab_assignments b SET variant_id = w.id FROM ab_assignments a, "
                "ab_variants v, ab_variants w, ab_experiments e WHERE a.user_id = b.user_id "
                "AND a.experiment_id <> b.experiment_id AND v.id = a.variant_id "
                "AND w.experiment_id = b.experiment_id AND w.variant_name = v.variant_name "
                "AND e.id = b.experiment_id AND e.experiment_name = 'prices' "
                "AND hashtext(a.user_id) % 2 = 0"
            )
        )
        [pair] = scanned(tx).pairs
    assert pair.outcome == "dependent"
    assert (pair.independence or 1) < 1e-6
    assert "which arm a unit has in one says which it has in the other" in pair.message


def test_before_the_first_scan_there_is_nothing_to_show(database: Engine) -> None:
    with database.connect() as tx:
        assert last_scan(tx).scanned_at is None
        assert scanned(tx).summary.startswith("0 of 0 overlapping pairs")
        assert last_scan(tx).decision_id is not None
