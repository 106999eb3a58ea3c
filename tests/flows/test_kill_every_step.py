"""A step that dies anywhere, and is run again, leaves what an uninterrupted one leaves."""

from __future__ import annotations

import fcntl
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL
from sqlalchemy import Engine

from tasks import ledger
from tests.faults import harness, under_prefect
from tests.faults.cases import KILL_CASES, STEPS_ALIKE, STEPS_WITH_EFFECT

NewDatabase = Callable[[], AbstractContextManager[Engine]]
Uninterrupted = Callable[[str], dict[str, Any]]


@pytest.fixture
def uninterrupted(shared_folder: Path, new_database: NewDatabase) -> Uninterrupted:
    """What a step leaves that nothing interrupts: found once a session, for all xdist workers."""

    def found(step: str) -> dict[str, Any]:
        with (shared_folder / f"{step}.uninterrupted").open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if not (content := file.read()):
                content = pickle.dumps(_run_uninterrupted(step, new_database))
                file.write(content)
        left: dict[str, Any] = pickle.loads(content)
        return left

    return found


def test_every_step_has_a_kill_case() -> None:
    assert set(ledger.registered_steps()) == set(KILL_CASES)


Points = tuple[harness.PointName, ...]


def _cases() -> Iterator[tuple[str, Points, Points]]:
    """Where each step is killed, one process after the other, and where it is cut after that.

    One whose effect is outside its transaction is hit at one point alone. Any other leaves nothing
    until it commits, so what hits it one after the other does so as if it were alone; and who dies
    after the commit leaves what the last process of every case finds.
    """
    for step in sorted(KILL_CASES):
        effect: Points = ("after-act",) if step in STEPS_WITH_EFFECT else ()
        if step in STEPS_ALIKE:
            yield step, (*effect, "before-commit"), ("after-commit",)
        elif effect:
            for point in (*harness.POINTS, *effect):
                yield step, (point,), ()
                yield step, (), (point,)
        else:
            yield step, ("before-body", "inside", "before-commit"), harness.POINTS


def _name(part: str | Points) -> str:
    return part if isinstance(part, str) else "+".join(part) or "none"


@pytest.mark.parametrize(("step", "kills", "cuts"), list(_cases()), ids=_name)
def test_step_killed_and_cut_anywhere_ends_as_if_uninterrupted(
    step: str, kills: Points, cuts: Points, new_database: NewDatabase, uninterrupted: Uninterrupted
) -> None:
    expected = uninterrupted(step)
    with new_database() as engine:
        url = engine.url.render_as_string(hide_password=False)
        arguments = harness.arrange(url, step)
        run_id = str(uuid.uuid4())
        for point in kills:
            killed = harness.Job(url, step, run_id, (point,), "kill")
            assert harness.call(killed, arguments) == harness.KILLED, point
        if cuts:
            assert harness.call(harness.Job(url, step, run_id, cuts, "cut"), arguments) == 0
        assert harness.call(harness.Job(url, step, run_id), arguments) == 0
        assert harness.observe(engine) == expected


@pytest.mark.parametrize("step", sorted(under_prefect.STEPS_OF_EACH_KIND))
def test_step_killed_before_prefect_hears_of_its_commit_is_not_done_twice(
    step: str, new_database: NewDatabase, uninterrupted: Uninterrupted
) -> None:
    expected = uninterrupted(step)
    api = str(PREFECT_API_URL.value())
    with new_database() as engine:
        url = engine.url.render_as_string(hide_password=False)
        arguments = harness.arrange(url, step)
        run_id = under_prefect.create_run()
        killed = harness.Job(url, step, run_id, ("after-commit",), "kill", api)
        assert harness.call(killed, arguments) == harness.KILLED
        assert harness.call(harness.Job(url, step, run_id, prefect_api=api), arguments) == 0
        assert harness.observe(engine) == expected


def _run_uninterrupted(step: str, new_database: NewDatabase) -> dict[str, Any]:
    with new_database() as engine:
        url = engine.url.render_as_string(hide_password=False)
        arguments = harness.arrange(url, step)
        assert under_prefect.handed_over(step, arguments) == arguments
        before = harness.observe(engine)
        assert harness.call(harness.Job(url, step, str(uuid.uuid4())), arguments) == 0
        after = harness.observe(engine)
        assert before != after, "the step left no trace: nothing is proved"
        return after
