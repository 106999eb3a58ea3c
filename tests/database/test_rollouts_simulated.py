"""A simulated rollout goes where the real one went; `headway rollout simulate` says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from flows.cli import main
from tasks import clock
from tasks.errors import NotFound
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.definition.schedule import DEFAULT_SCHEDULE, parse_schedule
from tasks.rollouts.simulation.course import follow
from tasks.rollouts.simulation.stored import read_stored
from tests.database.rollouts import FAILING, HEALTHY, an_hour, begin, standing, traffic
from tests.rows import rows_of

ERRORS = CheckPolicy(check="error_rate", limit=0.05)
LATENCY = CheckPolicy(check="latency", limit=200)
POLICY = RolloutPolicy(checks=(ERRORS,))
SCHEDULE = parse_schedule(DEFAULT_SCHEDULE)
Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def simulate(
    database: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    """Run `headway rollout simulate … --json`; returns the exit code and what was found."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def call(*words: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main(["rollout", "simulate", *words, "--json"])
        said = capsys.readouterr()
        code = int(ended.value.code or 0)
        return code, json.loads(said.out)["result"] if code == 0 else said.err + said.out

    with temporary_settings({PREFECT_API_URL: None}):
        yield call


@pytest.mark.parametrize("guard", ["threshold", "sequential"])
def test_what_is_stored_takes_it_where_the_real_rollout_went(database: Engine, guard: Any) -> None:
    policy = POLICY.model_copy(update={"guard": guard})
    begin(database, policy=policy)
    hour = 0
    while standing(database)[1] == "running":
        hour += 1
        outcome = an_hour(database, FAILING if hour > 8 else HEALTHY)
    assert standing(database) == (0, "rolled_back")
    with database.connect() as connection:
        stored = read_stored(connection, policy, "v2", None, 1.0)
    course = follow(SCHEDULE, policy, stored.feed, 1.0, stored.hours)
    assert (course.state, course.hours, course.reached) == ("rolled_back", hour, 50)
    assert course.message == outcome.reasons[0].message


def test_samples_are_summed_up_by_tick_and_version(database: Engine) -> None:
    record = text(
        "SELECT record_health_sample(:v, :m, :value, :n, :at, 'test', square_sum => :squares)"
    )
    with database.begin() as tx:
        begun = clock.now(tx) - timedelta(hours=5)
        for version, metric, minute, value, n, squares in (
            ("v2", "error_rate", 0, 3, 100, 3),
            ("v2", "error_rate", 59, 5, 100, 5),
            ("v1", "error_rate", 10, 20, 1000, 20),
            ("v2", "error_rate", 60, 7, 100, 7),
            ("v2", "latency", 5, 20_000, 100, 5e6),
            ("v2", "latency", 6, 100, 1, None),
            ("v2", "latency", 130, 180, None, None),
            ("v2", "latency", 131, nan, 10, None),
            ("v2", "latency", 132, 1, 10, inf),
            ("v3", "error_rate", 0, 99, 100, 99),
        ):
            at = begun + timedelta(minutes=minute)
            tx.execute(
                record,
                {"v": version, "m": metric, "value": value, "n": n, "at": at, "squares": squares},
            )
        policy = RolloutPolicy(checks=(ERRORS, LATENCY))
        stored = read_stored(tx, policy, "v2", "v1", 1.0)
    assert (stored.hours, set(stored.seen["error_rate"])) == (3, {1, 2})
    first = stored.feed(1, 5.0)
    errors = first["error_rate"]
    assert (errors.canary.total, errors.canary.samples) == (8, 200)
    assert errors.control is not None
    assert (errors.control.total, errors.control.samples) == (20, 1000)
    latency = first["latency"].canary.as_measured()
    assert (latency.value_sum, latency.sample_count, latency.square_sum) == (20_100, 101, None)
    third = stored.feed(3, 5.0)["latency"].canary.as_measured()
    assert (third.given_value, third.given_rows, third.broken_rows) == (180, 1, 2)
    truth = stored.truth(policy)
    assert truth.has_control
    assert [(each.check, each.canary) for each in truth.levels] == [
        ("error_rate", 15 / 300),
        ("latency", 20_100 / 101),
    ]
    assert truth.requests_per_hour == pytest.approx(1_300 / 3)


def test_a_version_without_samples_cannot_be_replayed(database: Engine, simulate: Call) -> None:
    with database.connect() as connection, pytest.raises(NotFound, match="no error_rate samples"):
        read_stored(connection, POLICY, "v2", None, 1.0)
    code, said = simulate("--model-version", "v2")
    assert (code, "record some, or state what is true" in said) == (2, True)


def test_the_command_draws_what_is_assumed(simulate: Call) -> None:
    words = ("--canary", "error_rate=0.2", "--control", "error_rate=0.03", "--runs", "8")
    code, found = simulate(*words, "--guard", "sequential", "--requests-per-hour", "4000")
    assert code == 0
    estimate = found["estimate"]
    assert estimate["rolled_back"]["count"] == 8
    assert estimate["false_rollback"]["count"] == 0
    assert estimate["detection_delay"]["hours"] == 1
    assert found["left_out"] == ["latency", "accuracy"]
    assert found["assumed"]["policy"]["guard"] == "sequential"
    assert simulate(*words)[1]["assumed"]["seed"] == found["assumed"]["seed"]


def test_the_command_goes_through_what_is_stored(database: Engine, simulate: Call) -> None:
    begin(database)
    for _ in range(3):
        an_hour(database, None)
        traffic(database)
    changes = rows_of(database, "SELECT count(*) FROM rollout_change")
    code, found = simulate("--model-version", "v2", "--runs", "2", "--schedule", "5/1h,100/1h")
    assert code == 0
    stored = found["stored"]
    assert (stored["course"]["state"], stored["course"]["hours"]) == ("completed", 2)
    assert {each["check"] for each in found["assumed"]["truth"]["levels"]} == {
        "error_rate",
        "latency",
        "accuracy",
    }
    assert rows_of(database, "SELECT count(*) FROM rollout_change") == changes


def test_the_command_reads_a_plan_and_an_outage(simulate: Call, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "ranker"\nmodel_version = "v2"\nschedule = "50/3h"\nrequests_per_hour = 500\n'
        '[policy]\nguard = "sequential"\n[[policy.checks]]\ncheck = "error_rate"\nlimit = 0.05\n',
        "utf-8",
    )
    outage = ("--canary", "error_rate=0.01", "--outage", "error_rate=0.5@1-2", "--runs", "3")
    code, found = simulate("-f", str(plan), *outage, "--no-control")
    assert code == 0
    assert found["assumed"]["truth"]["requests_per_hour"] == 500
    assert found["assumed"]["truth"]["levels"][1]["until_hour"] == 2
    assert found["estimate"]["harmful_from"] == 1  # without a control nobody knows better
    assert found["estimate"]["rolled_back"]["count"] == 3


def test_it_starts_when_the_plan_does_or_when_it_is_said_or_now(
    simulate: Call, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "ranker"\nmodel_version = "v2"\nstarts_at = 2026-01-02T08:00:00Z\n'
        'schedule = "5/8h"\n[[policy.freezes]]\nfrom_day = "fri"\nfrom_time = 12:00:00\n'
        'to_day = "mon"\nto_time = 08:00:00\n',
        "utf-8",
    )
    words = ("--canary", "accuracy=0.99", "--runs", "1")
    planned = simulate("-f", str(plan), *words)[1]
    assert planned["assumed"]["starts_at"] == "2026-01-02T08:00:00Z"
    assert planned["estimate"]["completion"]["hours"] == 72
    assert planned["estimate"]["frozen"]["hours"] == 64
    other = simulate("-f", str(plan), *words, "--at", "2026-01-05T09:00")[1]
    assert other["assumed"]["starts_at"] == "2026-01-05T09:00:00Z"
    assert (other["estimate"]["completion"]["hours"], other["estimate"]["frozen"]) == (8, None)
    now = datetime.fromisoformat(simulate(*words)[1]["assumed"]["starts_at"])
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "state what is true"),
        (["--canary", "error_rate"], "write CHECK=NUMBER"),
        (["--canary", "error_rate=much"], "write CHECK=NUMBER"),
        (["--canary", "error_rate=0.1", "--drift", "latency=1"], "say --canary latency=NUMBER"),
        (["--canary", "error_rate=0.1", "--outage", "error_rate=0.2"], "@HOUR-HOUR"),
        (["--canary", "error_rate=0.1", "--outage", "error_rate=0.2@5-4"], "ends at hour 4"),
        (["--canary", "queue=3"], "the policy has no check queue"),
        (["--canary", "error_rate=0.1", "--runs", "0"], "runs"),
        (["--canary", "error_rate=nan"], "finite"),
        (
            ["--canary", "error_rate=5"],
            "error_rate lies between 0 and 1, not 5 (canary); 5 % is 0.05",
        ),
        (["--canary", "accuracy=-0.1"], "accuracy lies between 0 and 1, not -0.1 (canary)"),
        (["--canary", "latency=-1"], "latency is at least 0, not -1 (canary)"),
        (["--canary", "latency=1", "--control", "latency=-2"], "at least 0, not -2 (control)"),
        (["--canary", "latency=1", "--deviation", "latency=-2"], "deviation: Input should be gr"),
        (
            ["--canary", "error_rate=0.1", "--outage", "error_rate=20@10-12"],
            "error_rate lies between 0 and 1, not 20 (canary, from hour 10); 20 % is 0.2",
        ),
        (["--canary", "error_rate=0.1", "--drift", "error_rate=2"], "drifts by 1 an hour at most"),
        (["--canary", "error_rate=0.1", "--deviation", "error_rate=2"], "is a rate: it has no dev"),
        (["--canary", "error_rate=0.1", "--requests-per-hour", "-5"], "greater than 0, not -5"),
    ],
)
def test_what_cannot_be_simulated_is_told(simulate: Call, words: list[str], says: str) -> None:
    code, said = simulate(*words)
    assert code != 0
    assert says in said
