"""A run that died is run again: what it had done is not done twice, whichever kind it is."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.states import Completed, Pending
from sqlalchemy import Connection, Engine, text

from flows import pipeline as pipelines_module
from flows import resume as resume_module
from flows.pipeline import pipeline, run_by_ledger
from flows.resume import resume
from tasks import journal, ledger
from tasks.errors import ConfigurationError, InputError, NotFound, Reason, Refused
from tasks.ledger import Point, step


class Death(BaseException):
    """Stands for the end of the process."""


@step(key="{word}", name="test-resume-write")
def write(tx: Connection, word: str) -> str:
    """Write a word."""
    tx.execute(text("INSERT INTO note VALUES (:word)"), {"word": word})
    return word


@pipeline(name="test-write-three")
def write_three(words: tuple[str, str, str] = ("a", "b", "c")) -> list[str]:
    """Write three words, one step each."""
    return [write(word=word) for word in words]


@pipeline(name="test-write-three-nested")
def write_three_nested() -> list[str]:
    """Write three words in a nested run, which gets another id each time."""
    return write_three()


@pipeline(name="test-write-refused")
def write_refused() -> None:
    """Refuse."""
    raise Refused("writing", [Reason("rude-word", "it is rude")])


# Not part of the application: they need no kill case and no deployment.
ledger._steps.pop(write.name)
for _flow in (write_three, write_three_nested, write_refused):
    pipelines_module._pipelines.pop(_flow.name)


@pytest.fixture(autouse=True)
def _ready(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE note (said text)"))
    monkeypatch.setattr(journal, "observers", [])


def die_at(point: Point, word: str) -> None:
    def observer(reached: Point, key: str, tx: Connection | None) -> None:
        if reached is point and key.endswith(f":{word}"):
            journal.observers.clear()
            raise Death

    journal.observers.append(observer)


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT said FROM note ORDER BY said")))


def state_of(engine: Engine, run_id: str) -> str:
    with engine.connect() as connection:
        query = text("SELECT state FROM headway.run WHERE id = :id")
        return str(connection.scalar(query, {"id": run_id}))


def create_run(flow: Any) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.create_flow_run(flow, state=Pending())


def run(flow: Any, flow_run: FlowRun) -> Any:
    with get_client(sync_client=True) as client:
        current = client.read_flow_run(flow_run.id)
    return run_flow(flow, flow_run=current, parameters=current.parameters, return_type="state")


POINTS = [Point.BEFORE_BODY, Point.BEFORE_COMMIT, Point.AFTER_COMMIT]


@pytest.mark.parametrize("flow", [write_three, write_three_nested], ids=lambda flow: flow.name)
@pytest.mark.parametrize("point", POINTS)
def test_the_same_flow_run_resumes_and_does_nothing_twice(
    database: Engine, flow: Any, point: Point
) -> None:
    flow_run = create_run(flow)
    die_at(point, "b")
    with pytest.raises(Death):
        run(flow, flow_run)
    assert state_of(database, str(flow_run.id)) == "failed"
    assert notes(database) == (["a", "b"] if point is Point.AFTER_COMMIT else ["a"])
    state = run(flow, flow_run)
    assert state.result() == ["a", "b", "c"]
    assert notes(database) == ["a", "b", "c"]
    assert state_of(database, str(flow_run.id)) == "completed"


def test_a_completed_flow_run_run_again_does_nothing(database: Engine) -> None:
    flow_run = create_run(write_three)
    run(write_three, flow_run)
    run(write_three, flow_run)
    assert notes(database) == ["a", "b", "c"]


def test_headway_resume_ends_a_run_of_prefect_without_a_deployment(database: Engine) -> None:
    flow_run = create_run(write_three)
    die_at(Point.BEFORE_COMMIT, "b")
    with pytest.raises(Death):
        run(write_three, flow_run)
    resumed = resume(str(flow_run.id))
    assert (resumed.outcome, resumed.flow) == ("completed", "test-write-three")
    assert notes(database) == ["a", "b", "c"]
    assert resume(str(flow_run.id)).outcome == "was-completed"


@pytest.mark.parametrize("point", POINTS)
def test_headway_resume_ends_a_run_of_the_ledger(database: Engine, point: Point) -> None:
    run_id = str(uuid.uuid4())
    die_at(point, "e")
    with pytest.raises(Death):
        run_by_ledger(write_three, {"words": ("d", "e", "f")}, run_id)
    resumed = resume(run_id)
    assert (resumed.outcome, resumed.run_id) == ("completed", run_id)
    assert notes(database) == ["d", "e", "f"]
    assert resume(run_id).outcome == "was-completed"


def test_headway_resume_hands_a_run_with_a_deployment_to_a_worker(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_module, "_SECOND_REPORT_SECONDS", 0.0)
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(write_three)
        deployment_id = client.create_deployment(flow_id, "test")
        flow_run = client.create_flow_run_from_deployment(deployment_id, state=Pending())
        resumed = resume(str(flow_run.id))
        state = client.read_flow_run(flow_run.id).state
    assert (resumed.outcome, resumed.flow) == ("scheduled", "test-write-three")
    assert state is not None
    assert state.is_scheduled()


def test_a_run_that_the_server_completed_is_left_alone(database: Engine) -> None:
    flow_run = create_run(write_three)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Completed(), force=True)
    assert resume(str(flow_run.id)).outcome == "was-completed"


def test_a_refused_run_is_refused_again(database: Engine) -> None:
    run_id = str(uuid.uuid4())
    with pytest.raises(Refused):
        run_by_ledger(write_refused, {}, run_id)
    with pytest.raises(Refused, match="rude-word"):
        resume(run_id)
    assert state_of(database, run_id) == "refused"


def test_an_unknown_run_is_named(database: Engine) -> None:
    with pytest.raises(NotFound, match="knows run"):
        resume(str(uuid.uuid4()))
    with pytest.raises(InputError, match="'abc' is not a run id"):
        resume("abc")


def test_a_run_that_never_started_and_has_no_deployment_cannot_resume(database: Engine) -> None:
    with pytest.raises(InputError, match="start anew"):
        resume(str(create_run(write_three).id))


def test_a_run_of_prefect_needs_a_server(database: Engine) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(ConfigurationError, match="set PREFECT_API_URL"),
    ):
        resume(str(uuid.uuid4()))
