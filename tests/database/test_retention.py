"""Old working rows expire; what was decided, and what may happen only once, stays."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from tasks import clock, ledger
from tasks.ledger import RunInfo, effect, in_run, step
from tasks.steps import purge_ledger_rows

DAYS = timedelta(days=90)
LEDGER = {"step", "step_attempt", "effect", "run"}


@pytest.fixture(autouse=True)
def _own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_steps", {})


def count(engine: Engine, table: str, condition: str = "true") -> int:
    with engine.connect() as connection:
        query = text(f"SELECT count(*) FROM headway.{table} WHERE {condition}")
        return int(connection.scalar(query) or 0)


def a_run() -> RunInfo:
    return RunInfo(str(uuid.uuid4()), "old", "tests:old", "ledger")


def leave_traces() -> None:
    @step(key="k", name="of-a-run")
    def of_a_run(tx: Connection) -> int:
        return effect("one", {}, lambda: 1, lambda: None)

    @step(key="k", scope="once", name="only-once")
    def only_once(tx: Connection) -> int:
        tx.execute(
            text(
                "INSERT INTO headway.decision (rule, rule_version, subject, verdict, reasons, "
                "details, inputs) VALUES ('r', 1, 's', 'v', '[]', '{}', '{}')"
            )
        )
        return effect("two", {}, lambda: 1, lambda: None)

    @step(key="k", name="failing")
    def failing(tx: Connection) -> None:
        raise ValueError("x")

    with in_run(a_run()):
        of_a_run()
        only_once()
        with pytest.raises(ValueError, match="x"):
            failing()


def purge_after(engine: Engine, days: int) -> dict[str, int]:
    with engine.begin() as tx:
        clock.shift(tx, timedelta(days=days))
    with in_run(a_run()):
        return purge_ledger_rows(older_than=DAYS).model_dump(include=LEDGER)


def test_nothing_young_is_purged(database: Engine) -> None:
    leave_traces()
    assert purge_after(database, 89) == {"step": 0, "step_attempt": 0, "effect": 0, "run": 0}


def test_old_rows_of_runs_are_purged_and_the_rest_stays(database: Engine) -> None:
    leave_traces()
    assert purge_after(database, 91) == {"step": 1, "step_attempt": 1, "effect": 1, "run": 1}
    assert count(database, "step", "scope = 'once'") == 1
    assert count(database, "effect", "name = 'two'") == 1
    assert count(database, "decision") == 1


def test_a_run_that_never_ended_stays(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO headway.run (id, flow, entrypoint, mode, parameters, started_at) "
                "VALUES (gen_random_uuid(), 'f', 'm:f', 'ledger', '{}', now() - interval '1 year')"
            )
        )
    assert purge_after(database, 0)["run"] == 0
    assert count(database, "run", "state = 'running'") == 1
