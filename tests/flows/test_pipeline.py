"""Pipelines under a real Prefect server: refusals, run rows, nesting, retries."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import pytest
from prefect import get_client
from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Engine, text

from flows import pipeline as pipelines_module
from flows.artifacts import publish_report, publish_table
from flows.pipeline import pipeline, run_by_ledger, validate
from tasks import ledger, retries
from tasks.errors import InputError, ItemsFailed, Reason, Refused, TransientError
from tasks.ledger import current_run, step, step_logger

Word = Annotated[str, Field(min_length=1)]


class Written(BaseModel):
    word: str
    run_id: str


_tries: list[int] = []


@step(key="{word}", name="test-write")
def write(tx: Connection, word: Word) -> Written:
    """Write a word."""
    if word == "bad":
        raise ValueError("bad word")
    if word == "refused":
        raise Refused("writing", [Reason("rude-word", "it is rude"), Reason("late", "too late")])
    if word == "twice" and len(_tries) < 1:
        _tries.append(1)
        raise TransientError("busy")
    tx.execute(text("INSERT INTO note VALUES (:word)"), {"word": word})
    step_logger().info("wrote %s", word)
    return Written(word=word, run_id=current_run().id)


@step(key="{number}", name="test-hold-connection", retries=0)
def hold(tx: Connection, number: int) -> int:
    """Keep a connection for a moment, and need another for the journal."""
    tx.execute(text("SELECT pg_sleep(0.05)"))
    return ledger.effect("held", {}, lambda: number, lambda: None, int)


@pipeline(name="test-write-word", run_name="test-write-word/{word}")
def write_word(word: Word, actor: str | None = None, reason: str | None = None) -> Written:
    """Write one word.

    Args:
        word: the word.
        actor: who.
        reason: why.
    """
    return write(word=word)


@pipeline(name="test-write-nested")
def write_nested(first: str, second: str) -> list[Written]:
    """Write a word here and another in a nested run."""
    return [write(word=first), write_word(word=second)]


@pipeline(name="test-map-words")
def map_words(words: list[str]) -> list[str]:
    """Write many words; those that fail are named at the end."""
    results = write.map([{"word": word} for word in words])
    failures = {w: str(r) for w, r in zip(words, results, strict=True) if isinstance(r, Exception)}
    if failures:
        raise ItemsFailed("words", failures)
    return [result.word for result in results if isinstance(result, Written)]


@pipeline(name="test-hold-connections")
def hold_many(count: int) -> list[Any]:
    """Keep many connections at once."""
    return hold.map([{"number": number} for number in range(count)])


@pipeline(name="test-publish")
def publish() -> None:
    """Leave artifacts."""
    publish_report("Test: Report/1", "# hello")
    publish_table("test table", [{"a": 1}])


# Not part of the application: they need no kill case and no deployment.
for _step in (write, hold):
    ledger._steps.pop(_step.name)
for _flow in (write_word, write_nested, map_words, hold_many, publish):
    pipelines_module._pipelines.pop(_flow.name)


@pytest.fixture(autouse=True)
def _ready(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE note (said text)"))
    _tries.clear()
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.01)
    for each in (write, hold):
        each.__dict__.pop("task", None)


def run_rows(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        query = text("SELECT * FROM headway.run ORDER BY started_at")
        found = connection.execute(query).mappings()
        return [{**row, "id": str(row["id"])} for row in found]


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT said FROM note ORDER BY said")))


def state_of(flow: Any, **parameters: Any) -> State[Any]:
    state: State[Any] = flow(**parameters, return_state=True)
    return state


def test_a_pipeline_is_a_flow_run_and_a_row(database: Engine) -> None:
    state = state_of(write_word, word="a", actor="ann", reason="because")
    written = state.result()
    (row,) = run_rows(database)
    assert state.is_completed()
    assert written == Written(word="a", run_id=row["id"])
    assert row["id"] == str(state.state_details.flow_run_id)
    assert (row["flow"], row["mode"], row["state"]) == ("test-write-word", "prefect", "completed")
    assert (row["actor"], row["reason"]) == ("ann", "because")
    assert row["parameters"] == {"word": "a", "actor": "ann", "reason": "because"}
    assert row["entrypoint"] == f"{__name__}:write_word"
    assert row["finished_at"] > row["started_at"]


def test_names_carry_the_business_key(database: Engine) -> None:
    state = state_of(write_word, word="a")
    with get_client(sync_client=True) as client:
        assert state.state_details.flow_run_id is not None
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert flow_run.name == "test-write-word/a"


def test_a_refusal_is_a_failed_state_named_refused_with_its_reasons(database: Engine) -> None:
    state = state_of(write_word, word="refused")
    expected = "writing refused: [rude-word] it is rude; [late] too late"
    assert (state.is_failed(), state.name, state.message) == (True, "Refused", expected)
    (row,) = run_rows(database)
    assert (row["state"], row["message"]) == ("refused", expected)
    with pytest.raises(Refused) as refusal:
        state.result()
    assert [reason.code for reason in refusal.value.reasons] == ["rude-word", "late"]


def test_a_refusal_is_raised_to_who_calls_the_flow(database: Engine) -> None:
    with pytest.raises(Refused, match="rude-word"):
        write_word(word="refused")


def test_a_failure_is_a_failed_state(database: Engine) -> None:
    state = state_of(write_word, word="bad")
    assert (state.is_failed(), state.name) == (True, "Failed")
    assert "bad word" in str(state.message)
    (row,) = run_rows(database)
    assert (row["state"], row["message"]) == ("failed", "bad word")


def test_nested_pipelines_share_the_root_run(database: Engine) -> None:
    first, second = write_nested(first="a", second="b")
    assert first.run_id == second.run_id
    (row,) = run_rows(database)
    assert (row["id"], row["flow"]) == (first.run_id, "test-write-nested")


def test_a_nested_refusal_refuses_the_whole(database: Engine) -> None:
    state = state_of(write_nested, first="a", second="refused")
    assert state.name == "Refused"
    assert notes(database) == ["a"]


def test_a_transient_error_is_tried_again_by_prefect(database: Engine) -> None:
    assert write_word(word="twice").word == "twice"
    with database.connect() as connection:
        attempt = connection.scalar(text("SELECT attempt FROM headway.step"))
        failed = connection.scalars(text("SELECT attempt FROM headway.step_attempt")).all()
    assert (attempt, failed) == (2, [1])
    assert notes(database) == ["twice"]


def test_a_failing_item_stops_no_other_and_is_named(database: Engine) -> None:
    state = state_of(map_words, words=["a", "bad", "c"])
    assert state.is_failed()
    assert "1 words failed: bad: bad word" in str(state.message)
    assert notes(database) == ["a", "c"]


def test_many_steps_at_once_do_not_starve_for_connections(database: Engine) -> None:
    most = 0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal most
        query = text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not is_over.wait(0.01):
                most = max(most, int(connection.scalar(query) or 0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert hold_many(count=60) == list(range(60))
    finally:
        is_over.set()
        watcher.join()
    assert 2 <= most <= 16


def test_a_step_logs_to_the_run(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    write_word(word="a")
    (record,) = [r for r in caplog.records if r.getMessage() == "wrote a"]
    assert record.name == "prefect.task_runs"


def test_artifacts_are_left_under_keys_that_prefect_takes(database: Engine) -> None:
    publish()
    read: Any = Artifact.get  # its type says that it may be a coroutine, which it is not here
    report, table = read("test-report-1"), read("test-table")
    assert report.data == "# hello"
    assert table.data == '[{"a": 1}]'


def test_without_prefect_the_same_pipeline_runs_by_the_ledger(database: Engine) -> None:
    written = run_by_ledger(write_nested, {"first": "a", "second": "b"})
    (row,) = run_rows(database)
    assert (row["mode"], row["state"]) == ("ledger", "completed")
    assert {each.run_id for each in written} == {row["id"]}
    assert notes(database) == ["a", "b"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"wrod": "a"}, "has no parameter wrod; it has word, actor, reason"),
        ({}, "do not fit"),
        ({"word": ""}, "at least 1 character"),
        ({"word": None}, "valid string"),
    ],
)
def test_parameters_are_checked_before_anything_runs(
    database: Engine, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_by_ledger(write_word, parameters)
    assert run_rows(database) == []


def test_checked_parameters_have_the_flows_types() -> None:
    assert validate(hold_many, {"count": "3"}) == {"count": 3}


def test_a_flow_and_a_step_show_what_an_operator_reads() -> None:
    assert "Write one word." in str(write_word.description)
    assert write_word.parameters.properties["word"]["description"] == "the word."
    assert write_word.parameters.required == ["word"]
    assert write.task.description == "Write a word."
    assert list(write.task.fn.__signature__.parameters) == ["word"]  # type: ignore[attr-defined]
