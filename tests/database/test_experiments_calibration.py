"""Calibration on real rows: drawn as single units would be, judged, kept, and acted on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import Connection, Engine, text

from tasks.decisions import replay
from tasks.errors import NotFound
from tasks.experiments.calibration import calibrating
from tasks.experiments.calibration.calibrating import list_due
from tasks.experiments.calibration.cells import Cells, read_cells, read_subject
from tasks.experiments.calibration.drawing import draw_arms
from tasks.experiments.calibration.reading import read_calibrations
from tasks.experiments.calibration.results import Calibration
from tasks.experiments.metrics import metrics
from tasks.rules import load_rules
from tests.conftest import created_database
from tests.database import calibrated
from tests.database.command_line import CommandLine
from tests.database.experiments import arms, load, look, start

Floats = NDArray[np.float64]
NORMAL = "sqrt(-2 * ln(1 - random())) * cos(6.283185307 * random())"
SKEWED = f"CASE WHEN random() < 0.05 THEN exp(1.5 * {NORMAL}) ELSE 0 END"
DRAWS = 1_000


@pytest.fixture(scope="module")
def filled(server_url: str, template: str) -> Iterator[Engine]:
    """A database of its own; what a test writes is rolled back."""
    with created_database(server_url, template) as engine:
        yield engine


@pytest.fixture
def tx(filled: Engine) -> Iterator[Connection]:
    with filled.connect() as connection, connection.begin() as transaction:
        connection.execute(text("SELECT setseed(0.5)"))
        yield connection
        transaction.rollback()


def calibrate(tx: Connection, ids: tuple[UUID, UUID], draws: int = 1_000) -> Calibration:
    """Calibrate the metric of an experiment that was built."""
    experiment, metric = map(str, ids)
    return calibrating.calibrate(tx, experiment, metric, draws)


def cells_of(tx: Connection, ids: tuple[UUID, UUID]) -> Cells:
    """The units of an experiment that was built, in cells."""
    experiment, metric = map(str, ids)
    return read_cells(tx, read_subject(tx, experiment, metric), looks=10)


# Drawn by cells as by single units ----------------------------------------------------------------


def units_of(tx: Connection) -> tuple[Floats, Floats]:
    """Every unit's value and second value, as they are in the table."""
    columns = "value, COALESCE(denominator, covariate, 0)"
    rows = tx.execute(text(f"SELECT {columns} FROM unit_value ORDER BY assignment_id")).all()
    values, others = np.array(rows, dtype=float).T
    return values, others


def welch_by_unit(values: Floats, share: float, draws: int) -> Floats:
    """Welch's statistic of arms in which each unit was drawn by itself."""
    rng = np.random.default_rng(11)
    found = np.empty(draws)
    for draw in range(draws):
        is_treated = rng.random(len(values)) < share
        found[draw] = stats.ttest_ind(values[is_treated], values[~is_treated], equal_var=False)[0]
    return found


def test_cells_are_drawn_as_single_units_are(tx: Connection) -> None:
    """Skewed values, which weigh most where they are rare: the distributions are one."""
    ids = calibrated.build(tx, 8_000, f"exp(1.5 * {NORMAL})")
    cells = cells_of(tx, ids)
    values, _ = units_of(tx)
    assert len(cells.mean) < 2_500
    assert (cells.units, cells.unlike) == (8_000, 7_999)
    compare = metrics.get("mean").compare
    by_cell = np.array(
        [
            compare(
                control.values(draw, -1, None), treatment.values(draw, -1, None), 0.05
            ).statistic
            for control, treatment in draw_arms(cells, 0.1, DRAWS, seed=1)
            for draw in range(len(control.sums))
        ]
    )
    by_unit = welch_by_unit(values, 0.1, DRAWS)
    # Two samples of one distribution: Kolmogorov-Smirnov, and how often 1.96 is passed.
    assert stats.ks_2samp(by_cell, by_unit).pvalue > 0.001
    rates = [float(np.mean(np.abs(found) > 1.96)) for found in (by_cell, by_unit)]
    assert abs(rates[0] - rates[1]) < 3 * np.sqrt(2 * 0.05 * 0.95 / DRAWS)


def test_second_values_go_with_the_first(tx: Connection) -> None:
    """Sums of both values scatter, and go together, as those of units drawn one by one."""
    ids = calibrated.build(tx, 8_000, NORMAL, covariate=f"x.value + {NORMAL}")
    cells = cells_of(tx, ids)
    values, others = units_of(tx)
    drawn = [arm for _, arm in draw_arms(cells, 0.3, DRAWS, seed=2)]
    means = [
        (found.covariate.mean, found.covariate.other_mean)
        for arm in drawn
        for draw in range(len(arm.sums))
        if (found := arm.values(draw, -1, "covariate")).covariate is not None
    ]
    # An arm's mean of a sample without replacement: (1 - share) / share of the variance by units.
    expected = np.cov(values, others) * 0.7 / (0.3 * len(values))
    error = np.sqrt(2 / DRAWS)
    assert np.cov(np.array(means).T) == pytest.approx(expected, rel=5 * error)
    assert np.mean(means, axis=0) == pytest.approx([values.mean(), others.mean()], abs=0.005)


def test_few_units_are_drawn_exactly(tx: Connection) -> None:
    """One cell for each value: nothing is left within cells, and everybody is in one."""
    ids = calibrated.build(tx, 3_000, SKEWED)
    cells = cells_of(tx, ids)
    values, _ = units_of(tx)
    assert not cells.m2.any()
    assert np.average(cells.mean, weights=cells.counts.units) == pytest.approx(values.mean())
    squares = cells.counts.units @ (cells.mean - values.mean()) ** 2
    assert squares == pytest.approx(((values - values.mean()) ** 2).sum())
    assert np.bincount(cells.counts.look, cells.counts.units).tolist() == [300] * 10


# Judged -------------------------------------------------------------------------------------------

KEPT: dict[str, tuple[str, dict[str, Any]]] = {
    "proportion": ("(random() < 0.1)::integer::float8", {"kind": "proportion"}),
    "adjusted": (NORMAL, {"covariate": f"x.value + {NORMAL}"}),
    "ratio": (f"2 + {NORMAL}", {"kind": "ratio", "denominator": "1 + floor(4 * random())"}),
}


@pytest.mark.parametrize("name", KEPT)
def test_sound_metrics_keep_their_promise(tx: Connection, name: str) -> None:
    value, more = KEPT[name]
    ids = calibrated.build(tx, 2_000, value, **more)
    found = calibrate(tx, ids)
    assert found.verdict == "kept", found.summary
    assert found.units == 2_000
    assert found.false_positive_rate == pytest.approx(0.05, abs=3 * 0.0069)
    assert found.coverage == pytest.approx(0.95, abs=3 * 0.0069)
    assert found.srm_alarm_rate is not None
    assert found.srm_alarm_rate <= 0.01


def test_rare_large_values_in_a_small_arm_break_the_promise(tx: Connection) -> None:
    """Nineteen units to one, a few of which decide: the interval misses on one side."""
    ids = calibrated.build(tx, 16_000, SKEWED, share=0.05)
    found = calibrate(tx, ids)
    assert found.verdict == "broken"
    assert {reason.code for reason in found.reasons} >= {"false-positives", "coverage-low"}
    assert found.draws == 3_000  # it looked broken, and was drawn again to be sure
    assert found.details["is_redrawn"]


@pytest.mark.parametrize(
    ("units", "more", "code"),
    [
        (500, {}, "too-few-units"),
        (0, {}, "too-few-units"),
        (500, {"quantile": 0.9, "kind": "quantile"}, "not-drawn"),
        (500, {"share": 0.0}, "not-drawn"),
    ],
)
def test_what_cannot_be_drawn_is_unknown(
    tx: Connection, units: int, more: dict[str, Any], code: str
) -> None:
    ids = calibrated.build(tx, units, SKEWED, **more)
    found = calibrate(tx, ids)
    assert (found.verdict, [reason.code for reason in found.reasons]) == ("unknown", [code])
    assert found.false_positive_rate is None


# Kept ---------------------------------------------------------------------------------------------

RATE = "(random() < 0.2)::integer::float8"
AGE = "UPDATE calibration SET calibrated_at = calibrated_at - interval '13 hours'"


def test_a_calibration_is_a_row_and_a_decision_that_replays(tx: Connection) -> None:
    ids = calibrated.build(tx, 1_000, RATE, kind="proportion")
    found = calibrate(tx, ids)
    assert read_calibrations(tx) == read_calibrations(tx, "buttons") == [found]
    decided = tx.execute(text("SELECT id, rule, subject FROM headway.decision")).one()
    about = "calibration:buttons:buttons-metric"
    assert tuple(decided) == (found.details["decision_id"], "calibration", about)
    load_rules()
    assert replay(tx).differences == ()


def test_the_same_figures_are_not_calibrated_twice_at_once(tx: Connection) -> None:
    ids = calibrated.build(tx, 50, RATE, kind="proportion")
    first = calibrate(tx, ids)
    assert calibrate(tx, ids) == first
    assert calibrate(tx, ids, draws=1_100).id != first.id


def test_a_metric_is_due_again_once_its_figures_have_changed(tx: Connection) -> None:
    ids = calibrated.build(tx, 50, RATE, kind="proportion")
    assert [each.metric for each in list_due(tx, None, None)] == ["buttons-metric"]
    calibrate(tx, ids)
    tx.execute(text(AGE))
    assert list_due(tx, None, None) == []
    assert len(list_due(tx, "buttons", "buttons-metric")) == 1  # by hand always
    tx.execute(text("UPDATE moment_statistic SET mean = mean + 0.01"))
    assert len(list_due(tx, None, None)) == 1
    tx.execute(text("UPDATE ab_experiments SET status = 'completed'"))
    assert list_due(tx, None, None) == []
    with pytest.raises(NotFound, match="no experiment is called 'bottons'"):
        list_due(tx, "bottons", None)


def test_a_verdict_says_since_when_it_holds(tx: Connection) -> None:
    ids = calibrated.build(tx, 50, RATE, kind="proportion")
    made = []
    for draws in (1_000, 1_001, 1_002, 1_003):
        made.append(calibrate(tx, ids, draws=draws))
        tx.execute(text(AGE))
    (latest,) = read_calibrations(tx)
    first = tx.scalar(text("SELECT min(calibrated_at) FROM calibration"))
    assert (latest.id, latest.since) == (made[3].id, first)
    change = text("UPDATE calibration SET verdict = 'broken' WHERE id = :id")
    tx.execute(change, {"id": made[1].id})
    third = text("SELECT calibrated_at FROM calibration WHERE id = :id")
    assert read_calibrations(tx)[0].since == tx.scalar(third, {"id": made[2].id})


# Acted on -----------------------------------------------------------------------------------------

LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
STANDS = "SELECT status::text, winner_variant FROM ab_experiments"
_BROKEN = """
INSERT INTO calibration (metric_id, experiment_id, calibrated_at, method, alpha, units, draws, seed,
                         verdict, details)
SELECT em.metric_id, em.experiment_id, headway.clock_now(), 'group_sequential', 0.05, 100, 1000, 1,
       :verdict, '{"reasons": [{"code": "false-positives", "message": "it finds 9 % of nothing"}]}'
FROM experiment_metric em
"""


def verdict_is(database: Engine, verdict: str) -> None:
    with database.begin() as connection:
        connection.execute(text(_BROKEN), {"verdict": verdict})


def stands(database: Engine) -> tuple[str, str | None]:
    with database.connect() as connection:
        status, winner = connection.execute(text(STANDS)).one()
    return status, winner


@pytest.mark.parametrize("policy", ["select", "roll_out"])
def test_a_winner_by_a_broken_metric_is_only_recommended(
    database: Engine, tmp_path: Path, command_line: CommandLine, policy: str
) -> None:
    experiment = start(policy=policy)
    load(tmp_path, arms(LOW, HIGH))
    verdict_is(database, "broken")
    board = command_line("experiment", "dashboard", "--format", "markdown").out
    assert all(told in board for told in ("calibration broken", "Its test is not to be relied on"))
    found = look(experiment)
    assert (found.winner, found.is_over) == ("red", False)
    assert found.verdict is not None
    assert found.verdict.reasons[-1].code == "calibration-broken"
    assert "it finds 9 % of nothing" in found.verdict.reasons[-1].message
    assert stands(database) == ("active", None)
    with database.connect() as connection:
        assert not connection.scalar(
            text("SELECT count(*) FROM headway.decision WHERE rule = 'winner-rollout'")
        )
    page = command_line("experiment", "report", "buttons", "--format", "markdown").out
    assert "Nothing is done by itself" in page
    assert "`headway experiment calibrate buttons`" in page
    # Nothing else is new; that the promise is kept again is enough for another look.
    verdict_is(database, "kept")
    assert look(experiment).is_over
    assert stands(database) == ("completed", "red")


def test_a_person_may_choose_what_is_only_recommended(
    database: Engine, tmp_path: Path, command_line: CommandLine
) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    verdict_is(database, "broken")
    look(experiment)
    who = ("--actor", "ada", "--reason", "looked at it")
    assert command_line("experiment", "select-winner", "buttons", *who).code == 0
    assert stands(database) == ("completed", "red")


def test_a_secondary_metric_holds_nothing_back(database: Engine, tmp_path: Path) -> None:
    experiment = start()
    load(tmp_path, arms(LOW, HIGH))
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO metric (name, kind, event_type, aggregation, missing) "
                "VALUES ('clicks', 'mean', 'click', 'sum', 'zero')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO experiment_metric "
                "(experiment_id, metric_id, role, planned_sample_size) "
                "SELECT e.id, m.id, 'secondary', 1000 FROM ab_experiments e, metric m "
                "WHERE m.name = 'clicks'"
            )
        )
        connection.execute(text(f"{_BROKEN} WHERE em.role = 'secondary'"), {"verdict": "broken"})
    assert look(experiment).is_over


# Commands -----------------------------------------------------------------------------------------


def test_the_commands_calibrate_the_newest_events_and_list(
    database: Engine, tmp_path: Path, command_line: CommandLine
) -> None:
    start()
    load(tmp_path, arms(LOW, HIGH))  # and nobody has analyzed them
    assert "nothing has been calibrated yet" in command_line("experiment", "calibrations").out
    unknown = command_line("experiment", "calibrate", "buttons", "--metric", "clicks")
    assert "experiment 'buttons' has no metric 'clicks'; it has: spend" in unknown.err
    for words in (("calibrate", "nosuch", "--metric", "spend"), ("calibrations", "nosuch")):
        nobody = command_line("experiment", *words)
        assert (nobody.code, "no experiment is called 'nosuch'" in nobody.err) == (2, True)
    made = command_line("experiment", "calibrate", "buttons", "--draws", "1000", "--json")
    (result,) = made.document["result"]
    assert (made.code, result["verdict"], result["units"]) == (0, "kept", 100)
    assert "± " in command_line("experiment", "calibrations", "buttons").out
    assert command_line("experiment", "calibrate").out.startswith("nothing to do")
    assert command_line("experiment", "calibrate", "--metric", "spend").code == 2
