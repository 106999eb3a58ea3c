"""Steps: effect and row commit together, once; transient errors are tried again, others not."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, text

from tasks import journal, ledger, retries, runs
from tasks.database import create_engine
from tasks.errors import ConfigurationError, EffectUnknown, HeadwayError, TransientError
from tasks.ledger import Point, RunInfo, effect, step


class Size(BaseModel):
    at: datetime
    share: float
    parts: dict[str, float] = {}


@dataclass(frozen=True)
class Pair:
    left: int
    right: tuple[float, ...]


class Death(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def _own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test defines does not outlive it, and nobody waits for a retry."""
    monkeypatch.setattr(ledger, "_steps", {})
    monkeypatch.setattr(journal, "observers", [])
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)


@pytest.fixture
def effects(database: Engine) -> Engine:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE note (said text)"))
    return database


def note(tx: Connection, said: str) -> None:
    tx.execute(text("INSERT INTO note VALUES (:said)"), {"said": said})


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT said FROM note ORDER BY said")))


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM headway.{table}")).mappings()
        return [dict(row) for row in found]


def another_run() -> Any:
    return ledger.in_run(RunInfo(str(uuid.uuid4()), "other", "tests:other", "ledger"))


def test_effect_and_row_commit_together(effects: Engine, run: RunInfo) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> str:
        note(tx, word)
        assert notes(effects) == []
        assert rows(effects, "step") == []
        return word.upper()

    assert write(word="é\n") == "É\n"
    (row,) = rows(effects, "step")
    assert notes(effects) == ["é\n"]
    assert row["name"] == "write"
    assert (row["business_key"], row["key"]) == ("é\n", f"{run.id}:write:é\n")
    assert (row["inputs"], row["output"], row["attempt"]) == ({"word": "é\n"}, "É\n", 1)
    assert (row["scope"], str(row["run_id"])) == ("run", run.id)
    assert row["started_at"] < row["finished_at"]


def test_second_call_in_a_run_gives_the_recorded_output_without_the_body(
    effects: Engine, run: RunInfo
) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> Pair:
        note(tx, word)
        return Pair(1, (0.5,))

    assert write(word="a") == write(word="a") == Pair(1, (0.5,))
    assert notes(effects) == ["a"]


def test_the_next_run_does_a_step_of_scope_run_again(effects: Engine) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> None:
        note(tx, word)

    for _ in range(2):
        with another_run():
            write(word="a")
    assert notes(effects) == ["a", "a"]


def test_scope_once_is_done_once_whatever_run_comes(effects: Engine) -> None:
    @step(key="{word}", scope="once")
    def write(tx: Connection, word: str) -> str:
        note(tx, word)
        return ledger.current_run().id

    given = set()
    for _ in range(3):
        with another_run():
            given.add(write(word="a"))
    assert len(given) == 1
    assert notes(effects) == ["a"]


@pytest.mark.parametrize("scope", ["run", "once"])
def test_simultaneous_callers_of_one_key_share_one_execution(
    effects: Engine, run: RunInfo, scope: ledger.Scope
) -> None:
    @step(key="{word}", scope=scope)
    def write(tx: Connection, word: str) -> int:
        note(tx, word)
        tx.execute(text("SELECT pg_sleep(0.1)"))
        return threading.get_ident()

    given: list[int] = []

    def call() -> None:
        with ledger.in_run(run):
            given.append(write(word="a"))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(given), len(set(given))) == (4, 1)
    assert notes(effects) == ["a"]


def test_a_failing_body_leaves_no_effect_and_one_recorded_attempt(
    effects: Engine, run: RunInfo
) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> None:
        note(tx, word)
        raise ValueError("no\0 good")

    with pytest.raises(ValueError, match="good"):
        write(word="a")
    assert notes(effects) == []
    assert rows(effects, "step") == []
    (attempt,) = rows(effects, "step_attempt")
    assert attempt["error_type"] == "ValueError"
    assert attempt["error_message"] == "no\ufffd good"
    assert attempt["attempt"] == 1
    assert attempt["is_retryable"] is False
    assert attempt["key"] == f"{run.id}:write:a"


def test_a_step_that_failed_can_be_called_again(effects: Engine, run: RunInfo) -> None:
    is_broken = True

    @step(key="{word}")
    def write(tx: Connection, word: str) -> None:
        note(tx, word)
        if is_broken:
            raise ValueError("not yet")

    with pytest.raises(ValueError, match="not yet"):
        write(word="a")
    is_broken = False
    write(word="a")
    assert notes(effects) == ["a"]


def http_error(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://localhost")
    return httpx.HTTPStatusError("x", request=request, response=httpx.Response(status))


@pytest.mark.parametrize(
    "error", [TransientError("busy"), httpx.ConnectError("gone"), http_error(503), http_error(429)]
)
def test_transient_errors_are_tried_again(effects: Engine, run: RunInfo, error: Exception) -> None:
    tries = 0

    @step(key="{word}", retries=2)
    def write(tx: Connection, word: str) -> int:
        nonlocal tries
        tries += 1
        note(tx, word)
        if tries < 3:
            raise error
        return tries

    assert write(word="a") == 3
    assert notes(effects) == ["a"]
    attempts = rows(effects, "step_attempt")
    assert [(row["attempt"], row["is_retryable"]) for row in attempts] == [(1, True), (2, True)]
    assert rows(effects, "step")[0]["attempt"] == 3


def test_tries_are_limited(effects: Engine, run: RunInfo) -> None:
    tries = 0

    @step(key="{word}", retries=2)
    def write(tx: Connection, word: str) -> None:
        nonlocal tries
        tries += 1
        raise TransientError("always")

    with pytest.raises(TransientError):
        write(word="a")
    assert tries == 3


@pytest.mark.parametrize("error", [ValueError("x"), HeadwayError("x"), http_error(404)])
def test_other_errors_fail_at_once(effects: Engine, run: RunInfo, error: Exception) -> None:
    tries = 0

    @step(key="{word}")
    def write(tx: Connection, word: str) -> None:
        nonlocal tries
        tries += 1
        raise error

    with pytest.raises(type(error)):
        write(word="a")
    assert tries == 1


def cut(engine: Engine, pid: int) -> None:
    with engine.begin() as surgeon:
        surgeon.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


@pytest.mark.parametrize("when", [Point.BEFORE_BODY, Point.BEFORE_COMMIT, Point.AFTER_COMMIT])
def test_a_cut_connection_is_survived(effects: Engine, run: RunInfo, when: Point) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> str:
        note(tx, word)
        return word

    pids: list[int] = []
    has_cut = False

    def saboteur(point: Point, key: str, tx: Connection | None) -> None:
        nonlocal has_cut
        if tx is not None:
            pids.append(int(tx.scalar(text("SELECT pg_backend_pid()")) or 0))
        if point is when and not has_cut:
            has_cut = True
            cut(effects, pids[-1])

    journal.observers.append(saboteur)
    assert write(word="a") == "a"
    assert notes(effects) == ["a"]
    assert write(word="a") == "a"


def test_a_lock_timeout_is_tried_again(effects: Engine, run: RunInfo) -> None:
    @step(key="{word}", retries=5)
    def write(tx: Connection, word: str) -> None:
        tx.execute(text("SET LOCAL lock_timeout = '50ms'"))
        note(tx, word)

    blocker = effects.connect()
    blocker.execute(text("LOCK TABLE note"))

    def give_way(point: Point, key: str, tx: Connection | None) -> None:
        if point is Point.BEFORE_BODY and rows(effects, "step_attempt"):
            blocker.rollback()

    journal.observers.append(give_way)
    write(word="a")
    blocker.close()
    (attempt,) = rows(effects, "step_attempt")
    assert attempt["error_type"] == "OperationalError"
    assert attempt["is_retryable"] is True


def test_a_constraint_violation_fails_at_once(effects: Engine, run: RunInfo) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> None:
        tx.execute(text("INSERT INTO headway.clock (is_only) VALUES (true)"))

    with pytest.raises(Exception, match="duplicate key"):
        write(word="a")
    assert len(rows(effects, "step_attempt")) == 1


MOMENT = datetime(2026, 11, 20, 14, 21, 11, 123456, tzinfo=UTC)
VALUES: list[tuple[Any, Any]] = [
    (int, 2**70),
    (float, 0.1 + 0.2),
    (float, math.inf),
    (float, 1e23),
    (float, 5e-324),
    (str, 'naïve 😀 \\u0000 \\\\u0000 \n\t" %(x)s :y {z}'),
    (None, None),
    (bool, True),
    (datetime, MOMENT),
    (timedelta, timedelta(days=-1, microseconds=1)),
    (uuid.UUID, uuid.UUID(int=7)),
    (list[int], [3, 1]),
    (tuple[int, str], (3, "a")),
    (dict[str, datetime], {"": MOMENT}),
    (Pair, Pair(1, (0.5, math.inf))),
    (Size, Size(at=MOMENT, share=-math.inf, parts={"a": math.inf})),
    (list[Size | Pair], [Size(at=MOMENT, share=1), Pair(1, ())]),
    (dict[str, Any], {"a": [1, 2.5, None, {"b": "c"}]}),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=str)
def test_results_and_arguments_come_back_as_they_were(
    database: Engine, run: RunInfo, kind: Any, value: Any
) -> None:
    calls = 0

    def give(tx: Connection, given: Any) -> Any:
        nonlocal calls
        calls += 1
        return given

    give.__annotations__ = {"tx": Connection, "given": kind, "return": kind}
    made = step(key=lambda given: "k")(give)
    first, second = made(given=value), made(given=value)
    assert first == second == value
    assert type(first) is type(second) is type(value)
    assert calls == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [(float, math.nan), (Size, Size(at=MOMENT, share=math.nan, parts={"a": math.nan}))],
)
def test_nan_comes_back(database: Engine, run: RunInfo, kind: Any, value: Any) -> None:
    def give(tx: Connection) -> Any:
        return value

    give.__annotations__ = {"return": kind}
    made = step(key="k")(give)
    assert repr(made()) == repr(made()) == repr(value).replace("datetime.timezone.utc", "TzInfo(0)")


def test_nul_characters_become_replacement_characters(database: Engine, run: RunInfo) -> None:
    @step(key="k")
    def give(tx: Connection, given: str) -> list[str]:
        return [given, "\\\0\0"]

    assert give(given="a\0b") == give(given="a\0b") == ["a\ufffdb", "\\\ufffd\ufffd"]


def test_a_result_that_its_annotation_refuses_leaves_no_effect(
    effects: Engine, run: RunInfo
) -> None:
    @step(key="k")
    def write(tx: Connection) -> int:
        note(tx, "a")
        return "seven"  # type: ignore[return-value]

    with pytest.raises(ValueError, match="int"):
        write()
    assert notes(effects) == []
    assert rows(effects, "step") == []


def test_a_result_without_a_json_form_leaves_no_effect(effects: Engine, run: RunInfo) -> None:
    @step(key="k")
    def write(tx: Connection) -> Any:
        note(tx, "a")
        return object()

    with pytest.raises(Exception, match="serialize"):
        write()
    assert notes(effects) == []


def test_a_step_inside_a_step_is_refused(effects: Engine, run: RunInfo) -> None:
    @step(key="k")
    def inner(tx: Connection) -> None:
        note(tx, "inner")

    @step(key="k")
    def outer(tx: Connection) -> None:
        note(tx, "outer")
        inner()

    with pytest.raises(ConfigurationError, match="'inner' is called inside another step"):
        outer()
    assert notes(effects) == []


def test_a_step_outside_a_run_is_refused(database: Engine) -> None:
    @step(key="k")
    def lonely(tx: Connection) -> None: ...

    with pytest.raises(ConfigurationError, match="no run is active"):
        lonely()


def _without_tx(word: str) -> None: ...
def _without_parameters() -> None: ...
def _without_annotation(tx: Connection): ...  # type: ignore[no-untyped-def]
def _sound(tx: Connection, word: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "key", "message"),
    [
        (_without_tx, "k", "first parameter"),
        (_without_parameters, "k", "first parameter"),
        (_without_annotation, "k", "what it returns"),
        (_sound, "{wrod}", "names wrod"),
        (_sound, "{tx}", "names tx"),
        (_sound, "{}", "names nothing"),
    ],
)
def test_a_step_that_cannot_work_is_refused_when_defined(
    function: Any, key: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        step(key=key)(function)


def test_a_name_is_given_once() -> None:
    step(key="k")(_sound)
    with pytest.raises(ConfigurationError, match="'-sound' is defined twice"):
        step(key="k")(_sound)
    assert set(ledger.registered_steps()) == {"-sound"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{number:03d}/{pair.left}", "007/1"),
        (lambda number, pair: f"{number + pair.left}", "8"),
        ("fixed", "fixed"),
    ],
)
def test_the_key_is_a_template_over_the_arguments_or_a_function_of_them(
    database: Engine, run: RunInfo, key: str | Callable[..., str], expected: str
) -> None:
    @step(key=key, name="keyed")
    def give(tx: Connection, number: int, pair: Pair = Pair(1, ())) -> None: ...

    give(7)
    (row,) = rows(database, "step")
    assert (row["business_key"], row["name"]) == (expected, "keyed")
    assert row["inputs"] == {"number": 7, "pair": {"left": 1, "right": []}}


def test_map_keeps_the_order_and_gives_failures_in_their_place(
    effects: Engine, run: RunInfo
) -> None:
    @step(key="{word}")
    def write(tx: Connection, word: str) -> str:
        if word == "b":
            raise ValueError("bad word")
        note(tx, word)
        return word

    a, b, c = write.map([{"word": word} for word in "abc"])
    assert (a, str(b), c) == ("a", "bad word", "c")
    assert isinstance(b, ValueError)
    assert notes(effects) == ["a", "c"]


class World:
    """Something outside the database that an effect changes."""

    def __init__(self) -> None:
        self.acts = 0
        self.probes = 0

    def act(self) -> Pair:
        self.acts += 1
        return Pair(self.acts, ())

    def probe(self) -> Pair | None:
        self.probes += 1
        return Pair(self.acts, ()) if self.acts else None


def effect_step(world: World) -> ledger.Step[[], Pair]:
    @step(key="k")
    def change(tx: Connection) -> Pair:
        return effect("change", {"to": 1}, world.act, world.probe, Pair)

    return change


def test_an_effect_is_announced_before_and_recorded_after(database: Engine, run: RunInfo) -> None:
    world = World()

    def act() -> Pair:
        (row,) = rows(database, "effect")
        assert (row["intent"], row["outcome"], row["done_at"]) == ({"to": 1}, None, None)
        return world.act()

    @step(key="k")
    def change(tx: Connection) -> Pair:
        return effect("change", {"to": 1}, act, world.probe, Pair)

    assert change() == Pair(1, ())
    (row,) = rows(database, "effect")
    assert row["outcome"] == {"left": 1, "right": []}
    assert row["done_at"] > row["intended_at"]
    assert (world.acts, world.probes) == (1, 0)


def die_at(point: Point) -> None:
    def observer(reached: Point, key: str, tx: Connection | None) -> None:
        if reached is point:
            journal.observers.clear()
            raise Death

    journal.observers.append(observer)


@pytest.mark.parametrize(
    ("point", "probes"),
    [
        (Point.BEFORE_BODY, 0),  # nothing was announced
        (Point.AFTER_ACT, 1),  # announced, done, not recorded: the world says so
        (Point.BEFORE_COMMIT, 0),  # recorded in the journal
        (Point.AFTER_COMMIT, 0),  # the step itself is recorded
    ],
)
def test_an_effect_happens_once_wherever_the_process_dies(
    database: Engine, run: RunInfo, point: Point, probes: int
) -> None:
    world = World()
    change = effect_step(world)
    die_at(point)
    with pytest.raises(Death):
        change()
    assert change() == Pair(1, ())
    assert (world.acts, world.probes) == (1, probes)


def test_an_effect_that_did_not_happen_is_done_on_resume(database: Engine, run: RunInfo) -> None:
    world = World()
    has_died = False

    def act() -> Pair:
        nonlocal has_died
        if not has_died:
            has_died = True
            raise Death
        return world.act()

    @step(key="k")
    def change(tx: Connection) -> Pair:
        return effect("change", {}, act, world.probe, Pair)

    with pytest.raises(Death):
        change()
    assert change() == Pair(1, ())
    assert (world.acts, world.probes) == (1, 1)


def test_an_effect_that_nobody_can_tell_stops_the_step(database: Engine, run: RunInfo) -> None:
    world = World()

    def probe() -> Pair | None:
        raise EffectUnknown("look at it")

    @step(key="k")
    def change(tx: Connection) -> Pair:
        return effect("change", {}, world.act, probe, Pair)

    die_at(Point.AFTER_ACT)
    with pytest.raises(Death):
        change()
    with pytest.raises(EffectUnknown, match="look at it"):
        change()
    assert world.acts == 1
    assert rows(database, "step") == []


def test_an_effect_needs_a_step(database: Engine, run: RunInfo) -> None:
    with pytest.raises(ConfigurationError, match="body of a step"):
        effect("x", {}, lambda: 1, lambda: None)


def test_the_run_says_how_it_ended(database: Engine) -> None:
    from tasks.errors import Reason, Refused

    ends: list[tuple[BaseException | None, str]] = [
        (None, "completed"),
        (Refused("it", [Reason("too-late", "it is too late")]), "refused"),
        (ValueError("no\0 good"), "failed"),
        (Death(), "failed"),
    ]
    for error, state in ends:
        info = RunInfo(str(uuid.uuid4()), "f", "m:f", "ledger", "ann", "because")
        expected = pytest.raises(type(error)) if error else nullcontext()
        with expected, ledger.in_run(info, {"at": MOMENT, "x": math.nan, "s": "\0"}):
            assert ledger.current_run() is info
            if error:
                raise error
        (row,) = (r for r in rows(database, "run") if str(r["id"]) == info.id)
        assert (row["state"], row["actor"], row["reason"]) == (state, "ann", "because")
        assert row["finished_at"] >= row["started_at"]
        assert ledger.active_run() is None


def test_a_run_whose_steps_are_done_ends_well_though_the_database_is_away_for_a_moment(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = create_engine("postgresql://nobody@127.0.0.1:1/none")
    seen = iter([database, away, away])
    monkeypatch.setattr(runs, "control_engine", lambda: next(seen, database))
    with another_run():
        pass
    assert [row["state"] for row in rows(database, "run")] == ["completed"]


def test_a_run_that_is_interrupted_says_so(database: Engine) -> None:
    with pytest.raises(KeyboardInterrupt), another_run():
        raise KeyboardInterrupt
    (row,) = rows(database, "run")
    assert (row["state"], row["message"]) == ("failed", "KeyboardInterrupt")


def test_retries_outlast_a_database_that_restarts() -> None:
    waits = [0.5 * 2.0**attempt for attempt in range(retries.RETRIES)]
    assert 10 <= sum(waits) <= 30
