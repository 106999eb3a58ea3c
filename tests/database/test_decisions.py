"""Decisions are append-only rows with everything they were made of, and can be replayed."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tasks import decisions, ledger
from tasks.decisions import Rule, Verdict, decide, replay, rule
from tasks.errors import ConfigurationError, Reason
from tasks.registry import Registry


class Weather(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    degrees: float
    place: str = "here"
    wind: dict[str, float] = {}


class Other(BaseModel):
    model_config = ConfigDict(extra="forbid")

    place: int


class Loose(BaseModel):
    anything: Any


@pytest.fixture(autouse=True)
def _own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "rules", Registry[Rule]("rule"))


@pytest.fixture
def engine(bootstrapped_database: Engine) -> Engine:
    return bootstrapped_database


def umbrella(limit: float = 10.0, version: int = 1) -> Rule:
    @rule("umbrella", version=version)
    def judge(evidence: Weather) -> Verdict:
        return Verdict(
            verdict="stay" if evidence.degrees < limit else "go",
            reasons=(Reason("degrees", f"it is {evidence.degrees}"),),
            details={"degrees": evidence.degrees, "far": 1e23, "bad": math.nan, "none": None},
        )

    return judge


def forget_rules() -> None:
    decisions.rules._items.clear()


def record(engine: Engine, judge: Rule, *degrees: float) -> list[decisions.Decided]:
    with engine.begin() as tx:
        return [
            decide(tx, judge, Weather(degrees=each), subject=f"place:{number}")
            for number, each in enumerate(degrees)
        ]


def stored(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM headway.decision ORDER BY id")).mappings()
        return [dict(row) for row in found]


def replayed(engine: Engine, subject: str | None = None) -> decisions.ReplayReport:
    with engine.connect() as connection:
        return replay(connection, subject)


def test_a_decision_holds_what_it_was_made_of(engine: Engine) -> None:
    (decided,) = record(engine, umbrella(), 9.5)
    (row,) = stored(engine)
    assert (row["id"], row["rule"], row["rule_version"]) == (decided.id, "umbrella", 1)
    assert (row["subject"], row["verdict"]) == ("place:0", "stay")
    assert row["inputs"] == {"degrees": 9.5, "place": "here", "wind": {}}
    assert row["reasons"] == [{"code": "degrees", "message": "it is 9.5"}]
    assert row["details"] == {"degrees": 9.5, "far": 10**23, "bad": "NaN", "none": None}
    assert (row["run_id"], row["actor"], row["reason"]) == (None, None, None)


def test_a_decision_knows_its_run_and_who_asked(engine: Engine) -> None:
    info = ledger.RunInfo(str(uuid.uuid4()), "f", "m:f", "ledger", "ann", "spring")
    with ledger.in_run(info):
        record(engine, umbrella(), 1.0)
        with engine.begin() as tx:
            judge = decisions.rules.get("umbrella")
            decide(tx, judge, Weather(degrees=1), subject="s", actor="bob", reason="mine")
    by_run, by_hand = stored(engine)
    assert str(by_run["run_id"]) == info.id
    assert (by_run["actor"], by_run["reason"]) == ("ann", "spring")
    assert (by_hand["actor"], by_hand["reason"]) == ("bob", "mine")


def test_a_decision_is_dated_by_the_databases_clock(engine: Engine) -> None:
    with engine.begin() as tx:
        tx.execute(text("SELECT headway.shift_clock('10 days')"))
    record(engine, umbrella(), 1.0)
    (row,) = stored(engine)
    assert 9.9 < (row["decided_at"] - row["recorded_at"]).total_seconds() / 86400 < 10.1


def test_a_decision_goes_with_its_transaction(engine: Engine) -> None:
    with engine.connect() as tx:
        decide(tx, umbrella(), Weather(degrees=1), subject="s")
        tx.rollback()
    assert stored(engine) == []


@pytest.mark.parametrize("table", ["decision", "migration_run"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE headway.{table} SET reason = 'another'",
        "UPDATE headway.{table} SET reason = 'another' WHERE false",
        "DELETE FROM headway.{table}",
        "TRUNCATE headway.{table}",
        "TRUNCATE headway.{table}, headway.step CASCADE",
    ],
)
def test_the_database_refuses_changes_even_of_its_owner(
    engine: Engine, change: str, table: str
) -> None:
    record(engine, umbrella(), 9.5)
    with engine.connect() as owner, pytest.raises(DBAPIError, match="append-only"):
        owner.execute(text(change.format(table=table)))
    assert len(stored(engine)) == 1


EVIDENCE = [
    Weather(degrees=math.nan, wind={"n": math.inf, "s": -math.inf}),
    Weather(degrees=1e23, wind={"e": 0.1 + 0.2, "w": 5e-324}),
    Weather(degrees=1, place='naïve 😀 \\u0000 \0 \n" %(x)s :y'),
    Weather(degrees=-0.0),
]


@pytest.mark.parametrize("evidence", EVIDENCE, ids=str)
def test_replay_agrees_with_what_was_decided(engine: Engine, evidence: Weather) -> None:
    with engine.begin() as tx:
        decide(tx, umbrella(), evidence, subject="s")
    report = replayed(engine)
    assert (report.replayed, report.differences, report.across_versions) == (1, (), ())


def test_replay_reads_every_page(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_PAGE_SIZE", 2)
    record(engine, umbrella(), 1, 2, 3, 4, 15)
    assert replayed(engine).replayed == 5
    assert replayed(engine, "place:4").replayed == 1
    assert replayed(engine, "elsewhere").replayed == 0


def test_replay_finds_a_rule_that_changed_within_its_version(engine: Engine) -> None:
    record(engine, umbrella(), 5, 15)
    forget_rules()
    umbrella(limit=20.0)
    report = replayed(engine)
    (difference,) = report.differences
    assert (report.replayed, report.across_versions) == (2, ())
    assert difference.subject == "place:1"
    assert (difference.stored_verdict, difference.replayed_verdict) == ("go", "stay")
    assert difference.problem == "different verdict"


def test_replay_lists_what_a_newer_version_would_decide(engine: Engine) -> None:
    record(engine, umbrella(), 5, 15)
    forget_rules()
    umbrella(limit=20.0, version=2)
    report = replayed(engine)
    (difference,) = report.across_versions
    assert report.differences == ()
    assert (difference.stored_version, difference.current_version) == (1, 2)


def test_replay_counts_an_unknown_rule_as_a_difference(engine: Engine) -> None:
    record(engine, umbrella(), 5)
    forget_rules()
    (difference,) = replayed(engine).differences
    assert "'umbrella' is not registered" in difference.problem
    assert difference.current_version is None


def test_replay_says_when_stored_inputs_no_longer_fit_or_the_rule_breaks(engine: Engine) -> None:
    record(engine, umbrella(), 5)
    forget_rules()

    @rule("umbrella", version=1)
    def fits_no_more(evidence: Other) -> Verdict:
        return Verdict(verdict="x")

    assert "do not fit the rule" in replayed(engine).differences[0].problem
    forget_rules()

    @rule("umbrella", version=1)
    def breaks(evidence: Weather) -> Verdict:
        raise ZeroDivisionError("oh")

    assert replayed(engine).differences[0].problem == "ZeroDivisionError: oh"


def test_a_rule_judges_what_will_be_stored(engine: Engine) -> None:
    seen: list[Any] = []

    @rule("loose", version=1)
    def judge(evidence: Loose) -> Verdict:
        seen.append(evidence.anything)
        return Verdict(verdict=str(evidence.anything))

    with engine.begin() as tx:
        decide(tx, judge, Loose(anything=(1, math.nan)), subject="s")
    assert replayed(engine).differences == ()
    assert seen == [[1, "NaN"], [1, "NaN"]]


def _not_a_model(evidence: int) -> Verdict: ...  # type: ignore[empty-body]
def _nothing() -> Verdict: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("function", [_not_a_model, _nothing])
def test_a_rule_takes_one_model(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="one pydantic model"):
        rule("wrong", version=1)(function)


def test_a_rule_name_is_given_once() -> None:
    umbrella()
    with pytest.raises(ConfigurationError, match="'umbrella' is registered twice"):
        umbrella(version=2)
