from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from tasks.database import load_queries
from tasks.errors import InputError, NotFound
from tasks.experiments.reporting.comparison import BY, FRAGMENTS, By, Compared, compare, filled
from tasks.experiments.reporting.dashboard import read_dashboard
from tasks.experiments.reporting.detailed import read_report
from tasks.experiments.reporting.formats import rendered
from tasks.settings import load_settings
from tests.database.experiments import DAY, arms, assignment, event, load, look, metric, start

LOW = [10.0 + number % 7 for number in range(100)]
HIGH = [value + 3 for value in LOW]
VISITS = metric(name="visits", event_type="visit", aggregation="count", missing="zero")


def _rows() -> list[dict[str, Any]]:
    """Two arms; every third unit is on a phone, and the second half came on the third day."""
    rows = []
    for name, values in (("control", LOW), ("red", HIGH)):
        for number, value in enumerate(values):
            user = f"{name}-{number}"
            came = f"{DAY}{1 if number < 50 else 3}T00:00:00Z"
            meta = {"device": "phone" if number % 3 == 0 else "desktop"}
            rows += [
                assignment(user, name, assigned_at=came, metadata=meta),
                event(user, value, f"e-{user}", event_timestamp=f"{DAY}4T00:00:00Z"),
            ]
    return rows


def _decided(folder: Path, **changes: Any) -> str:
    experiment = start(
        dimensions=["device"], secondary_metrics=[VISITS], organization="shop", **changes
    )
    load(folder, _rows())
    look(experiment)
    return experiment


def _compared(database: Engine, by: By, **options: Any) -> list[Compared]:
    with database.connect() as connection:
        return list(compare(connection, "buttons", by, **options).rows)


def test_the_dashboard_says_where_every_experiment_stands(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path, planned_sample_size=400)
    start(name="later", metric=metric(name="other"))
    with database.connect() as connection:
        found = read_dashboard(connection)
    rows = {row.name: row for row in found.experiments}
    assert (found.counts["active"], found.counts["completed"]) == (1, 1)
    buttons = rows["buttons"]
    assert (buttons.winner, buttons.organization, buttons.verdict) == ("red", "shop", "winner")
    assert (buttons.sample, buttons.planned_sample, buttons.assigned) == (200, 400, 200)
    assert buttons.split == {"control": 0.5, "red": 0.5}
    assert buttons.sentence.startswith("red beats control on spend")
    assert (buttons.day, buttons.days) == (1, 1)
    later = rows["later"]
    assert (later.sample, later.verdict, later.winner) == (0, None, None)
    assert later.next_steps == ("Load its events; the next hourly run looks at it.",)
    assert [row.name for row in found.experiments] == ["later", "buttons"]


def test_the_report_shows_what_each_arm_gives_its_users(database: Engine) -> None:
    prompt = "Be warm | to everybody.\n" + "Very " * 500
    told = {"label": "Warm", "response_template": "Hi {name}!", "system_prompt": prompt}
    cool = {"name": "control", "weight": 0.5, "is_control": True}
    start(variants=[cool, {"name": "red", "weight": 0.5} | told])
    with database.connect() as connection:
        report = read_report(connection, "buttons")
    (line,) = [each for each in report.as_markdown().splitlines() if "| Warm |" in each]
    assert "| Hi {name}! | Be warm \\| to everybody. Very Very" in line
    assert "… (2,524 characters)" in line
    assert len(line) < 300
    red = json.loads(rendered(report, "json"))["arms"][1]
    assert {name: red[name] for name in told} == told


def test_an_empty_dashboard_says_so(database: Engine) -> None:
    with database.connect() as connection:
        found = read_dashboard(connection)
    assert "There are no experiments yet." in found.as_markdown()
    assert rendered(found, "csv") == ""


def test_a_detailed_report_holds_the_stored_verdict(database: Engine, tmp_path: Path) -> None:
    experiment = _decided(tmp_path)
    with database.connect() as connection:
        found = read_report(connection, "buttons")
        (stored,) = connection.execute(
            text("SELECT id, details FROM headway.decision WHERE rule = 'experiment-winner'")
        ).all()
    assert experiment
    assert found.last_look is not None
    assert (found.winner, found.last_look.decision_id) == ("red", stored.id)
    primary = found.metrics[0]
    (red,) = primary.arms
    (kept,) = stored.details["arms"]
    assert red.difference == kept["difference"] == pytest.approx(3.0)
    assert (red.sequential_lower, red.p_value) == (kept["sequential_lower"], kept["p_value"])
    assert [(each.number, each.arm, each.n) for each in found.looks] == [(1, "red", 100)]
    assert found.looks[0].difference == pytest.approx(3.0)
    assert found.epochs[0]["split"] == {"control": 0.5, "red": 0.5}
    assert {each["name"] for each in found.planned_metrics} == {"spend", "visits"}


def test_every_form_of_a_report_shows_the_same_figures(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path)
    with database.connect() as connection:
        found = read_report(connection, "buttons")
    document = json.loads(rendered(found, "json"))
    lines = list(csv.DictReader(io.StringIO(rendered(found, "csv"))))
    (red,) = document["metrics"][0]["arms"]
    (line,) = (row for row in lines if row["metric"] == "spend" and row["arm"] == "red")
    assert float(line["difference"]) == red["difference"]
    page = rendered(found, "markdown")
    assert f"{red['difference']:+.4g}" in page
    assert page.count("](data:image/svg+xml;base64,") >= 3


def test_an_experiment_without_a_look_still_has_a_report(database: Engine) -> None:
    start()
    with database.connect() as connection:
        found = read_report(connection, "buttons")
    assert "It has not been looked at yet." in found.as_markdown()
    assert found.metrics[0].failure == "it has no statistics yet"
    assert [row["failure"] for row in found.csv_rows()] == ["it has no statistics yet"]


def test_a_metric_that_failed_is_shown_as_failed_and_the_others_appear(
    database: Engine, tmp_path: Path
) -> None:
    _decided(tmp_path)
    with database.begin() as tx:
        tx.execute(
            text(
                "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, "
                "details, inputs) SELECT rule, rule_version, subject, verdict, reasons, details "
                """|| '{"metrics": [{"name": "visits", "role": "secondary", "kind": "mean", """
                """"outcome": "failed", "problem": "division by zero"}]}', inputs """
                "FROM headway.decision WHERE rule = 'experiment-winner'"
            )
        )
    with database.connect() as connection:
        found = read_report(connection, "buttons")
        row = read_dashboard(connection).experiments[0]
    assert [(each.name, each.failure) for each in found.metrics] == [
        ("spend", None),
        ("visits", "division by zero"),
    ]
    assert "**Failed:** division by zero" in found.as_markdown()
    assert row.failed_metrics == ("visits",)
    assert "Metric visits failed: division by zero" in row.next_steps


def test_variants_are_compared_as_numpy_does(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path)
    rows = {(row.metric, row.variant): row for row in _compared(database, "variant")}
    red = rows["spend", "red"]
    assert (red.n, red.min, red.max) == (100, min(HIGH), max(HIGH))
    assert red.mean == pytest.approx(np.mean(HIGH))
    assert red.deviation == pytest.approx(np.std(HIGH, ddof=1))
    assert list(red.percentiles.values()) == pytest.approx(
        np.percentile(HIGH, [5, 25, 50, 75, 90, 95, 99])
    )
    assert red.change == pytest.approx(3 / np.mean(LOW))
    assert rows["spend", "control"].change is None
    assert (rows["visits", "red"].mean, rows["visits", "red"].change) == (0.0, None)


def test_segments_are_compared_and_placed_among_all_units(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path)
    rows = {
        (row.level, row.variant): row
        for row in _compared(database, "segment")
        if row.metric == "spend"
    }
    phones = [value for number, value in enumerate(HIGH) if number % 3 == 0]
    phone = rows["phone", "red"]
    assert (phone.slice, phone.n) == ("device", 34)
    assert phone.mean == pytest.approx(np.mean(phones))
    everyone = np.array(LOW + HIGH)
    both = [v for values in (LOW, HIGH) for n, v in enumerate(values) if n % 3 == 0]
    expected = np.mean([100 * (np.mean(everyone < v) + np.mean(everyone == v) / 2) for v in both])
    assert phone.percentile == pytest.approx(expected)
    assert rows["phone", "control"].percentile == phone.percentile


def test_a_period_stands_beside_the_one_before(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path)
    with database.begin() as tx:  # it ended on the fifth day
        tx.execute(text(f"UPDATE ab_experiments SET completed_at = '{DAY}5T00:00:00Z'"))
    rows = {
        (row.level, row.variant): row
        for row in _compared(database, "period", days=3)
        if row.metric == "spend"
    }
    assert [rows[level, "red"].n for level in ("before", "now")] == [50, 50]
    assert rows["now", "red"].mean == pytest.approx(np.mean(HIGH[50:]))
    assert [rows[level, "red"].events for level in ("before", "now")] == [0, 100]
    change = np.mean(HIGH[50:]) / np.mean(HIGH[:50]) - 1
    assert rows["now", "red"].change == pytest.approx(change)
    assert rows["before", "red"].change is None


def test_statistics_of_others_are_compared_without_percentiles(database: Engine) -> None:
    experiment = start()
    with database.begin() as tx:
        tx.execute(
            text(
                "INSERT INTO moment_statistic (experiment_id, metric_id, variant_id, assigned, "
                "events, converted, n, mean, m2) SELECT e.experiment_id, e.metric_id, v.id, 9, 0, "
                "0, 5, 2.0, 4.0 FROM experiment_metric e JOIN ab_variants v USING (experiment_id)"
            )
        )
    (control, _) = _compared(database, "variant")
    assert experiment
    assert (control.units, control.n, control.mean, control.deviation) == (9, 5, 2.0, 1.0)
    assert control.percentiles == {}


def test_every_comparison_has_every_form(database: Engine, tmp_path: Path) -> None:
    _decided(tmp_path)
    for by in BY:
        with database.connect() as connection:
            found = compare(connection, "buttons", by)
        assert rendered(found, "markdown").startswith(f"# buttons: by {by}")
        lines = list(csv.DictReader(io.StringIO(rendered(found, "csv"))))
        assert len(lines) == len(json.loads(rendered(found, "json"))["rows"]) == len(found.rows)
        assert {"p5", "p99", "mean", "min", "max", "n"} <= {*lines[0]}


def test_what_is_not_there_is_said(database: Engine) -> None:
    start()
    with database.connect() as connection:
        for read in (
            lambda: read_report(connection, "x"),
            lambda: compare(connection, "x", "period"),
        ):
            with pytest.raises(NotFound, match="headway experiment list"):
                read()
        with pytest.raises(InputError, match="at least one day"):
            compare(connection, "buttons", "period", days=0)
        found = compare(connection, "buttons", "segment")
    assert "name `dimensions` in the plan" in found.as_markdown()


def test_every_query_of_comparisons_can_be_planned(database: Engine) -> None:
    queries = load_queries("tasks.experiments.reporting", "comparison.sql")
    with database.begin() as tx:
        for query in (filled(name) for name in queries.keys() - FRAGMENTS):
            tx.execute(text(f"EXPLAIN {query.text}"), dict.fromkeys(query.compile().params))


CHANNEL = """
[notify.ops]
kind = "webhook"
url = "http://127.0.0.1:9/"
"""


def test_a_look_puts_its_notices_into_the_outbox_once(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headway.toml").write_text(CHANNEL, "utf-8")
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    experiment = _decided(tmp_path, is_stopped_at_winner=False)
    load(tmp_path, arms(LOW, HIGH, start=200), name="more")
    assert not look(experiment).is_skipped
    with database.connect() as connection:
        told = connection.execute(text("SELECT kind, dedupe_key, payload FROM notification")).all()
        (sentence,) = connection.execute(
            text("SELECT reasons -> 0 ->> 'message' FROM headway.decision WHERE id = :id"),
            {"id": told[0].payload["details"]["decision"]},
        ).one()
    assert [(row.kind, row.dedupe_key) for row in told] == [("winner", "winner:buttons:red")]
    assert told[0].payload["text"] == sentence
