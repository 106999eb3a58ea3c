"""Run a plan's revisions there and back on copies of their target, and compare what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from tasks.migrations import environments
from tasks.migrations.applying import runner
from tasks.migrations.copying import Copied, copy_database
from tasks.migrations.environments import Target
from tasks.migrations.project import Project
from tasks.migrations.rehearsal import effects
from tasks.migrations.rehearsal.keeping import undoing
from tasks.migrations.rehearsal.model import Rehearsal, RevisionEffect
from tasks.migrations.rehearsal.passes import Move, Pass, Stage, fingerprint_of, run_pass
from tasks.migrations.rehearsal.round_trips import failure_of, round_trips, varying
from tasks.migrations.revision_graph.plan import Direction
from tasks.migrations.revision_graph.reading import read_scripts
from tasks.migrations.scratch import scratch_database

_NOT_ALIKE = (
    "the schema of the copy is not quite the target's (owners, or the server), so what came of it "
    "is not compared with what comes of the migration"
)
# A downgrade that keeps rows has to know what will be gone.
Downgrade = Callable[[Connection, Project, str, RevisionEffect], None]


def plain_upgrade(connection: Connection, project: Project, revision: str) -> None:
    """Apply a revision as the runner does."""
    runner.move(connection, project, revision, "upgrade")


def plain_downgrade(connection: Connection, project: Project, revision: str) -> None:
    """Undo a revision as the runner does; what it takes away is gone."""
    runner.move(connection, project, revision, "downgrade")


def rehearse(
    target: Target,
    revisions: Sequence[str],
    direction: Direction = "upgrade",
    *,
    upgrade: Move = plain_upgrade,
    downgrade: Downgrade | None = None,
    undo: Move = plain_downgrade,
) -> Rehearsal:
    """Try the revisions, in the order given, on copies of the target; that is only read.

    They run once to be measured, once more on another copy to see whether the same comes of them,
    and back (and forth again) with ``upgrade`` and ``downgrade``, which may keep what the plain
    ones lose; ``undo`` is the plain way back. A statement that fails is a finding, not an error.

    Raises:
        Refused: no copy can be made; the reasons say what is missing.
        ConfigurationError: a mask does not fit.
        CopyFailed: the target cannot be read, or not be made anew.
    """
    started = time.monotonic()
    plan = _Plan(target.project, tuple(revisions), direction, upgrade, downgrade, undo)
    with _copied(target, target.rehearsal.data) as (pristine, copied):
        name = make_url(pristine).database
        with scratch_database(_server(target), template=name) as clone:
            found = _on_copies(plan, pristine, clone)
    rehearsal = Rehearsal(
        **_circumstances(target, plan, target.rehearsal.data, copied),
        **found,
        seconds=time.monotonic() - started,
    )
    return _as_known(target, rehearsal)


def find_effects(target: Target, revisions: Sequence[str], direction: Direction) -> Rehearsal:
    """Only what the revisions do, measured on a copy without rows: a matter of a second.

    Rows that triggers would change are not seen, because none fires; a note names their tables.

    Raises:
        Refused, CopyFailed: as ``rehearse``.
    """
    started = time.monotonic()
    plan = _Plan(target.project, tuple(revisions), direction)
    with _copied(target, "none") as (url, copied), _session(url) as connection:
        once = plan.plain(connection, direction)
    triggered = {".".join(name) for each in once.effects for name in each.triggered_tables}
    copied = copied.model_copy(update={"notes": (*copied.notes, *_unseen(sorted(triggered)))})
    rehearsal = Rehearsal(
        **_circumstances(target, plan, "none", copied),
        **_measured(once),
        failure=once.failure,
        seconds=time.monotonic() - started,
    )
    return _as_known(target, rehearsal)


def _unseen(triggered: Sequence[str]) -> Sequence[str]:
    unseen = "what triggers of {} would write is not seen without rows; rehearse with rows"
    return [unseen.format(", ".join(triggered))] if triggered else []


def _as_known(target: Target, rehearsal: Rehearsal) -> Rehearsal:
    """Without the schema that came of it, if the copy was not quite like the target."""
    with _session(target.url) as connection:
        is_alike = fingerprint_of(connection, target.project).hash == rehearsal.before_hash
    if is_alike:
        return rehearsal
    notes = (*rehearsal.notes, _NOT_ALIKE)
    return rehearsal.model_copy(update={"after_hash": None, "notes": notes})


@dataclass(frozen=True, slots=True)
class _Plan:
    project: Project
    revisions: tuple[str, ...]
    direction: Direction
    upgrade: Move = plain_upgrade
    downgrade: Downgrade | None = None
    undo: Move = plain_downgrade

    @property
    def reversed(self) -> tuple[str, ...]:
        return tuple(reversed(self.revisions))

    def first(self, connection: Connection) -> Pass:
        """Upgrade as it is really done, so that a second time is like it; go down as it is."""
        if self.direction == "downgrade":
            return self.plain(connection, "downgrade")
        return run_pass(connection, self.project, self.revisions, "upgrade", self.upgrade)

    def plain(
        self, connection: Connection, direction: Direction, first: Stage | None = None
    ) -> Pass:
        """Go one way as the revisions themselves do."""
        revisions = self.revisions if direction == self.direction else self.reversed
        move = plain_upgrade if direction == "upgrade" else self.undo
        return run_pass(connection, self.project, revisions, direction, move, first=first)

    def back(self, connection: Connection, before: effects.Catalogue, first: Stage) -> Pass:
        """Undo an upgrade as the revisions themselves do, whatever was brought back."""
        now = effects.look(connection, self.project.version_table)
        undo = undoing(effects.added_values(before, now))
        return run_pass(connection, self.project, self.reversed, "downgrade", undo, first=first)

    def up(self, connection: Connection, revisions: Sequence[str], name: str, first: Stage) -> Pass:
        """Go up the given way."""
        move = self.upgrade
        return run_pass(connection, self.project, revisions, "upgrade", move, name, first=first)

    def down(
        self, connection: Connection, revisions: Sequence[str], known: Pass | None, first: Stage
    ) -> Pass:
        """Go down the given way; what is taken away is known from a plain downgrade."""
        downgrade, move = self.downgrade, plain_downgrade
        if downgrade is None or known is None:
            return run_pass(connection, self.project, revisions, "downgrade", move, first=first)
        taken = {each.revision: each for each in known.effects}

        def keeping(tx: Connection, project: Project, revision: str) -> None:
            if revision not in taken:  # the plain one failed there: so does this
                plain_downgrade(tx, project, revision)
            else:
                downgrade(tx, project, revision, taken[revision])

        return run_pass(connection, self.project, revisions, "downgrade", keeping, first=first)


def _on_copies(plan: _Plan, pristine: str, clone: str) -> dict[str, Any]:
    with _session(pristine) as connection:
        before = effects.look(connection, plan.project.version_table)
        plain = plan.first(connection)
        if plain.failure:
            return {**_measured(plain), "failure": plain.failure}
        is_kept = plan.direction == "upgrade" and plan.downgrade is not None
        back = plan.back(connection, before, plain.stages[-1]) if is_kept else None
    with _session(clone) as connection:
        if plan.direction == "upgrade":
            return _up_down_up(plan, connection, plain, back)
        return _down_up(plan, connection, plain)


def _up_down_up(
    plan: _Plan, connection: Connection, plain: Pass, back: Pass | None
) -> dict[str, Any]:
    there = plan.up(connection, plan.revisions, "upgrade of another copy", plain.stages[0])
    vary = varying(plain, there)
    if there.failure:
        return {**_measured(plain), "failure": there.failure, "nondeterministic": vary}
    home = plan.down(connection, plan.reversed, back, there.stages[-1])
    done = [revision for revision in plan.revisions if revision in home.done]
    again = plan.up(connection, done, "second upgrade", home.stages[-1])
    scripts = {script.revision: script for script in read_scripts(plan.project)[0]}
    trips = round_trips(plan.revisions, scripts, there, home, again, vary)
    return {
        **_measured(_as_held(plain, there), back or home),
        "round_trips": trips,
        "nondeterministic": vary,
        "failure": failure_of(trips, home, again),
    }


def _down_up(plan: _Plan, connection: Connection, plain: Pass) -> dict[str, Any]:
    there = plan.down(connection, plan.revisions, plain, plain.stages[0])
    done = [revision for revision in plan.reversed if revision in there.done]
    home = plan.up(connection, done, "upgrade after it", there.stages[-1])
    scripts = {script.revision: script for script in read_scripts(plan.project)[0]}
    return {
        **_measured(_as_held(plain, there), home),
        "round_trips": round_trips(plan.revisions, scripts, there, home, None, ()),
        "failure": there.failure or home.failure,
    }


def _as_held(plain: Pass, real: Pass) -> Pass:
    """The effects of the plain way, with the locks as they are held when rows are kept too."""
    held = {each.revision: each.lock_times for each in real.effects}
    plain.effects = [
        each.model_copy(update={"lock_times": held.get(each.revision, each.lock_times)})
        for each in plain.effects
    ]
    return plain


def _measured(*passes: Pass) -> dict[str, Any]:
    return {
        "statements": tuple(each for one in passes for each in one.statements),
        "effects": tuple(each for one in passes for each in one.effects),
        "before_hash": passes[0].stages[0].fingerprint.hash,
        "after_hash": None if passes[0].failure else passes[0].stages[-1].fingerprint.hash,
        "after": None if passes[0].failure else passes[0].stages[-1].fingerprint,
    }


def _circumstances(
    target: Target, plan: _Plan, data: Literal["full", "sample", "none"], copied: Copied
) -> dict[str, Any]:
    return {
        "environment": target.name,
        "direction": plan.direction,
        "revisions": plan.revisions,
        "data": data,
        "sample_rows": target.rehearsal.sample_rows if data == "sample" else 0,
        "row_counts": copied.rows,
        "notes": copied.notes,
    }


@contextmanager
def _copied(
    target: Target, data: Literal["full", "sample", "none"]
) -> Iterator[tuple[str, Copied]]:
    options, project = target.rehearsal, target.project
    with scratch_database(_server(target)) as url:
        copied = copy_database(
            target.url,
            url,
            data=data,
            sample_rows=options.sample_rows,
            masks=options.masks,
            version_table=(project.version_table_schema, project.version_table),
        )
        yield url, copied


def _server(target: Target) -> str:
    return target.rehearsal.url or target.url


@contextmanager
def _session(url: str) -> Iterator[Connection]:
    with environments.engine(url, "headway-rehearsal").connect() as connection:
        yield connection
