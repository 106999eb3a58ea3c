"""Random revisions, data and faults: nothing is lost, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from tasks import journal, retries
from tasks.errors import HeadwayError
from tasks.migrations import environments, steps
from tasks.migrations.applying import moves, runner
from tasks.migrations.archive import Effect
from tasks.migrations.drift import rebuild
from tasks.migrations.fingerprint import compare
from tasks.migrations.revision_graph.evidence import gather
from tasks.migrations.revision_graph.plan import judge_plan
from tasks.migrations.timeline import verify_chain
from tests.conftest import created_database
from tests.database.projects import AlembicProject, alembic_project, in_a_run

Kind = Literal["table", "column", "widen", "index", "concurrent index", "enum column", "merge"]
Row = dict[str, Any]


class Crash(Exception):
    """The process dies here, as far as the databases can tell."""


@dataclass(frozen=True)
class Change:
    """A revision: what it builds on, and what it does to which table."""

    revision: str
    down: tuple[str, ...]
    kind: Kind
    table: str | None = None

    @property
    def column(self) -> str:
        return f"c_{self.revision}"

    def statements(self) -> tuple[list[str], list[str]]:
        name, table, column = self.revision, self.table, self.column
        index = f"CREATE INDEX {{how}} i_{name} ON {table} (b)"
        added = f"ALTER TABLE {table} ADD {column}"
        return {
            "table": (
                [f"CREATE TABLE {table} (id int PRIMARY KEY, a text, b int, CHECK (b >= 0))"],
                [f"DROP TABLE {table}"],
            ),
            "column": ([f"{added} text"], [f"ALTER TABLE {table} DROP {column}"]),
            "widen": (
                [f"ALTER TABLE {table} ALTER b TYPE bigint"],
                [f"ALTER TABLE {table} ALTER b TYPE int"],
            ),
            "index": ([index.format(how="")], [f"DROP INDEX i_{name}"]),
            "concurrent index": (
                [index.format(how="CONCURRENTLY")],
                [f"DROP INDEX CONCURRENTLY i_{name}"],
            ),
            "enum column": (
                [f"CREATE TYPE e_{name} AS ENUM ('on', 'off')", f"{added} e_{name}"],
                [f"ALTER TABLE {table} DROP {column}", f"DROP TYPE e_{name}"],
            ),
            "merge": ([], []),
        }[self.kind]

    @property
    def effect(self) -> Effect:
        """What its downgrade takes away."""
        table = self.table or ""
        if self.kind == "table":
            return Effect(dropped_tables=(("public", table),))
        if self.kind in {"column", "enum column"}:
            return Effect(dropped_columns=(("public", table, self.column),))
        narrowed = (("public", table, "b"),) if self.kind == "widen" else ()
        return Effect(narrowed_columns=narrowed)


@dataclass(frozen=True)
class Fault:
    """Where one try ends: at the n-th of something."""

    where: Literal["statement", "cut", "commit", "after commit", *journal.Point]  # type: ignore[valid-type]
    number: int


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Change, ...]:
    """Lines, branches and merges; a change is to a table that is there on its branch."""
    found: list[Change] = []
    for number in range(draw(st.integers(3, 6))):
        name = f"r{number}"
        heads = _heads(found)
        if len(heads) > 1 and draw(st.booleans()):
            found.append(Change(name, tuple(heads[:2]), "merge"))
            continue
        below = draw(st.sampled_from([change.revision for change in found])) if found else None
        tables = _tables(found, below)
        kinds: list[Kind] = ["column", "widen", "index", "concurrent index", "enum column"]
        kind: Kind = draw(st.sampled_from(["table", *kinds])) if tables else "table"
        if kind == "widen" and any(c.kind == "widen" for c in found):
            kind = "column"
        table = f"t_{name}" if kind == "table" else draw(st.sampled_from(tables))
        found.append(Change(name, (below,) if below else (), kind, table))
    return tuple(found)


faults = st.builds(
    Fault,
    st.sampled_from(["statement", "cut", "commit", "after commit", *journal.Point]),
    st.integers(1, 45),
)


@dataclass
class World:
    """What the database should hold, worked out without one."""

    changes: tuple[Change, ...]
    applied: list[str] = field(default_factory=list)
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    kept: dict[str, dict[int, Any]] = field(default_factory=dict)

    def change(self, revision: str) -> Change:
        return next(change for change in self.changes if change.revision == revision)

    def up(self, revision: str) -> None:
        change, kept = self.change(revision), self.kept.pop(revision, {})
        self.applied.append(revision)
        if change.kind == "table":
            self.rows[change.table or ""] = kept
        elif change.kind in {"column", "enum column"}:
            for key, row in self.rows[change.table or ""].items():
                row[change.column] = kept.get(key)

    def down(self, revision: str) -> None:
        change = self.change(revision)
        self.applied.remove(revision)
        if change.kind == "table":
            self.kept[revision] = self.rows.pop(change.table or "")
        elif change.kind in {"column", "enum column"}:
            rows = self.rows[change.table or ""]
            self.kept[revision] = {key: row.pop(change.column) for key, row in rows.items()}


@pytest.fixture
def project(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AlembicProject]:
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.01)
    with alembic_project(tmp_path, server_url, monkeypatch, ()) as made:
        yield made


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a smaller example of a failure takes minutes to find
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    changes=graphs(),
    undone=st.integers(1, 4),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    dying=st.lists(st.none() | faults, max_size=12),
)
def test_nothing_is_lost_or_done_twice_whatever_happens(
    project: AlembicProject,
    server_url: str,
    changes: tuple[Change, ...],
    undone: int,
    seeds: tuple[int, int],
    dying: list[Fault | None],
) -> None:
    next_fault: Iterator[Fault | None] = chain(dying, repeat(None))
    with created_database(server_url, "template1") as engine:
        project.engines["dev"] = engine
        project.configure()
        _write_revisions(project, changes)
        world = World(changes)
        _upgrade(project, world, next_fault)
        _write(project, world, seeds[0])
        for revision in _planned(direction="downgrade", steps=min(undone, len(changes))):
            _move(project, revision, "downgrade", world, next(next_fault))
            _check_rows(project, world)
        _check(project, world, server_url)
        _write(project, world, seeds[1])
        _upgrade(project, world, next_fault)
        _check_rows(project, world)
        _check(project, world, server_url)


def _upgrade(project: AlembicProject, world: World, faults: Iterator[Fault | None]) -> None:
    for revision in _planned(direction="upgrade", target="heads"):
        _move(project, revision, "upgrade", world, next(faults))


def _planned(**asked: Any) -> list[str]:
    verdict = judge_plan(gather("dev").model_copy(update=asked))
    assert verdict.verdict != "refused", verdict.reasons
    return [each["revision"] for each in verdict.details["revisions"]]


def _move(
    project: AlembicProject, revision: str, direction: str, world: World, fault: Fault | None
) -> None:
    """Once until it fails, then again in the same run: that must bring it to its end."""

    def once() -> None:
        if direction == "upgrade":
            steps.apply_revision(environment="dev", revision=revision)
        else:
            moves.downgrade("dev", revision, world.change(revision).effect)

    with in_a_run():
        try:
            with _faulty(project, fault):
                once()
        except (Crash, DBAPIError, HeadwayError):
            once()
    getattr(world, "up" if direction == "upgrade" else "down")(revision)


@contextmanager
def _faulty(project: AlembicProject, fault: Fault | None) -> Iterator[None]:
    if fault is None:
        yield
    elif fault.where in set(journal.Point):
        with _dying_at_point(fault):
            yield
    else:
        with _dying_in_database(project, fault):
            yield


@contextmanager
def _dying_at_point(fault: Fault) -> Iterator[None]:
    left = [1]

    def observe(point: journal.Point, _key: str, _tx: Connection | None) -> None:
        left[0] -= point == fault.where
        if point == fault.where and left[0] == 0:
            raise Crash

    journal.observers.append(observe)
    try:
        yield
    finally:
        journal.observers.remove(observe)


@contextmanager
def _dying_in_database(project: AlembicProject, fault: Fault) -> Iterator[None]:
    is_commit = fault.where in {"commit", "after commit"}
    left = [1 + fault.number % 3 if is_commit else fault.number]
    database = project.engines["dev"].url.database

    def die(connection: Connection, *_: Any) -> None:
        left[0] -= connection.engine.url.database == database
        if left[0] == 0:
            left[0] = -1
            _die(project, connection, fault)

    name = "commit" if is_commit else "before_cursor_execute"
    event.listen(sa.Engine, name, die)
    try:
        yield
    finally:
        event.remove(sa.Engine, name, die)


def _die(project: AlembicProject, connection: Connection, fault: Fault) -> None:
    if fault.where in {"cut", "commit"}:
        _cut(project, connection)
        return
    if fault.where == "after commit":
        raw: Any = connection.connection.dbapi_connection
        raw.commit()
    raise Crash


def _cut(project: AlembicProject, connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    with project.engines["dev"].connect() as other:
        other.execute(
            text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": raw.info.backend_pid}
        )


def _write(project: AlembicProject, world: World, seed: int) -> None:
    """Some rows come, one goes, one changes."""
    for number, (table, rows) in enumerate(sorted(world.rows.items())):
        extra = [name for name in _columns(world, table) if name not in {"id", "a", "b"}]
        for key in range(seed, seed + 3):
            if key not in rows:
                row = {"id": key, "a": f"é\\{seed}", "b": seed % 7}
                rows[key] = row | dict.fromkeys(extra, "on" if key % 2 else None)
                _insert(project, table, rows[key])
        if seed % 3 == number % 3:
            gone = min(rows)
            del rows[gone]
            project.execute("dev", f"DELETE FROM {table} WHERE id = {gone}")


def _insert(project: AlembicProject, table: str, row: Row) -> None:
    values = ", ".join(f"%({name})s" for name in row)
    with project.engines["dev"].begin() as connection:
        query = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"
        connection.exec_driver_sql(query, row)


def _columns(world: World, table: str) -> list[str]:
    changes = [c for c in world.changes if c.table == table and c.revision in world.applied]
    added = [c.column for c in changes if c.kind in {"column", "enum column"}]
    return ["id", "a", "b", *added]


def _check_rows(project: AlembicProject, world: World) -> None:
    for table, rows in world.rows.items():
        names = _columns(world, table)
        found = project.rows("dev", f"SELECT {', '.join(names)} FROM {table}")
        expected = [tuple(row[name] for name in names) for row in rows.values()]
        assert Counter(found) == Counter(expected), table


def _check(project: AlembicProject, world: World, server_url: str) -> None:
    assert project.heads("dev") == sorted(_heads([world.change(r) for r in world.applied]))
    net = Counter[str]()
    for revision, direction in project.rows(
        "dev", "SELECT revision, direction FROM headway.migration_run WHERE outcome = 'done'"
    ):
        net[revision] += 1 if direction == "upgrade" else -1
    assert {r: n for r, n in net.items() if n} == dict.fromkeys(world.applied, 1)
    target = environments.find("dev")
    with project.engines["dev"].connect() as connection:
        assert verify_chain(connection) == ()
        actual = rebuild.fingerprint(connection, target.project)
    with created_database(server_url, "template1") as engine, engine.connect() as connection:
        for revision in world.applied:
            runner.move(connection, target.project, revision, "upgrade")
            connection.rollback()
        expected = rebuild.fingerprint(connection, target.project)
    assert [d.text for d in compare(expected, actual) if not d.is_information] == []


def _write_revisions(project: AlembicProject, changes: tuple[Change, ...]) -> None:
    for path in project.versions.glob("*.py"):
        path.unlink()
    for change in changes:
        up, back = change.statements()
        down = change.down if len(change.down) > 1 else (change.down or (None,))[0]
        if change.kind == "concurrent index":
            project.revision(change.revision, down, _by_itself(up), _by_itself(back))
        else:
            project.revision(change.revision, down, up or "pass", back or "pass")


def _by_itself(statements: list[str]) -> str:
    lines = [f"    op.execute({statement!r})" for statement in statements]
    return "\n".join(["with op.get_context().autocommit_block():", *lines])


def _heads(changes: list[Change]) -> list[str]:
    below = {revision for change in changes for revision in change.down}
    return [change.revision for change in changes if change.revision not in below]


def _tables(changes: list[Change], revision: str | None) -> list[str]:
    """The tables that are there once the revision is."""
    known = {change.revision: change for change in changes}
    found: list[str] = []
    waiting = [revision] if revision else []
    while waiting:
        change = known[waiting.pop()]
        waiting += change.down
        if change.kind == "table" and change.table:
            found.append(change.table)
    return sorted(set(found))
