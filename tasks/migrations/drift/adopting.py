"""Make a revision of drift: proven on a scratch database, applied already where the drift is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.errors import Reason, Refused
from tasks.migrations.applying import runner
from tasks.migrations.drift import rebuild
from tasks.migrations.drift.ddl import Ddl, write
from tasks.migrations.drift.expected import record
from tasks.migrations.drift.found import Drift, drifted
from tasks.migrations.drift.revision_file import write_revision
from tasks.migrations.drift.running import said
from tasks.migrations.fingerprint import compare
from tasks.migrations.fingerprint.model import Difference, Fingerprint
from tasks.migrations.merging import proving as merging
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import content, graph, history
from tasks.migrations.revision_graph.reading import find_file, read_scripts

WHAT = "the adoption"


class Adopted(BaseModel):
    """The revision that says what was done by hand, and where it lies."""

    model_config = ConfigDict(frozen=True)

    revision: str
    file: str
    differences: tuple[Difference, ...]
    statements: tuple[str, ...]
    undo: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    revision: str
    down_revision: str
    path: Path


def adopt(
    environment: str,
    *,
    title: str | None = None,
    actor: str,
    reason: str,
    run_id: str | None = None,
) -> Adopted:
    """Write the drift as a revision on top of the head, and record it as applied here.

    The revision is run up and down on a scratch database first: it must give just this schema, and
    take it back. It does not run here; in other environments it runs as any other.

    Raises:
        Refused: there is no drift, it cannot be written or proven, or this database is not at the
            one head of the revisions; then no file is left.
    """
    occasion = history.Occasion(environment, run_id, actor, reason)
    with drifted(environment, WHAT) as (connection, drift):
        head = _head(drift)
        up, down = write(drift.expected, drift.wanted), write(drift.wanted, drift.expected)
        if up.by_hand:
            raise Refused(WHAT, [_by_hand(each) for each in up.by_hand])
        with _file(drift, head, title or _title(drift), up, down) as written:
            _prove(drift, written, is_reversible=not down.by_hand)
            _require_unchanged(connection, drift)
            _mark_applied(connection, drift, written, occasion)
    return Adopted(
        revision=written.revision,
        file=written.path.name,
        differences=drift.differences,
        statements=up.statements,
        undo=down.statements,
    )


def _head(drift: Drift) -> str:
    scripts, _ = read_scripts(drift.target.project)
    heads = tuple(script.revision for script in graph.heads(scripts))
    if len(heads) == 1 and drift.heads == heads:
        return heads[0]
    message = (
        f"{drift.target.name!r} is at {', '.join(drift.heads)}, the revisions' head is "
        f"{', '.join(heads)}: a revision can be put on top of one head only. Revert or accept the "
        "drift, migrate, and adopt it then; or join the heads first (headway migrate resolve)"
    )
    raise Refused(WHAT, [Reason("not-at-head", message)])


@contextmanager
def _file(drift: Drift, head: str, title: str, up: Ddl, down: Ddl) -> Iterator[_Written]:
    """The revision's file, which stays only if all goes well."""
    project = drift.target.project
    scripts, _ = read_scripts(project)
    revision = merging.next_id(scripts)
    path = find_file(project, head).parent / f"{revision}_adopt_drift.py"
    write_revision(path, revision, head, title, up, down)
    try:
        yield _Written(revision, head, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _prove(drift: Drift, written: _Written, *, is_reversible: bool) -> None:
    project, target = drift.target.project, drift.target
    try:
        with rebuild.rebuilt(target, drift.heads) as scratch:
            before = _fingerprint(scratch, project)
            _require_same(drift.expected, rebuild.as_if_here(before, drift.actual), "not-rebuilt")
            runner.move(scratch, project, written.revision, "upgrade")
            adopted = rebuild.as_if_here(_fingerprint(scratch, project), drift.actual)
            _require_same(drift.wanted, adopted, "not-proven")
            if is_reversible:
                runner.move(scratch, project, written.revision, "downgrade")
                _require_same(before, _fingerprint(scratch, project), "not-reversible")
    except rebuild.CannotRebuild as error:
        raise Refused(WHAT, [Reason("not-rebuilt", f"it cannot be proven: {error}")]) from error
    except DBAPIError as error:
        message = f"written as SQL the drift does not run: {said(error)}; write it by hand"
        raise Refused(WHAT, [Reason("not-proven", message)]) from error


def _fingerprint(scratch: Connection, project: Project) -> Fingerprint:
    """Without a transaction left open: a revision is to run in one of its own."""
    scratch.rollback()
    found = rebuild.fingerprint(scratch, project)
    scratch.rollback()
    return found


def _require_same(expected: Fingerprint, actual: Fingerprint, code: str) -> None:
    messages = {
        "not-rebuilt": "the revisions do not make the schema that was there before the drift",
        "not-proven": "written as SQL the drift gives another schema than there is",
        "not-reversible": "undone, the revision leaves another schema than before",
    }
    left = [each for each in compare(expected, actual) if not each.is_information]
    if left:
        listed = "; ".join(each.text for each in left)
        advice = "Write the revision by hand, or revert or accept the drift"
        raise Refused(WHAT, [Reason(code, f"{messages[code]}: {listed}. {advice}")])


def _require_unchanged(connection: Connection, drift: Drift) -> None:
    if rebuild.fingerprint(connection, drift.target.project).hash != drift.actual.hash:
        message = "the schema was changed again while the revision was tried; look at it again"
        raise Refused(WHAT, [Reason("schema-changed", message)])


def _mark_applied(
    connection: Connection, drift: Drift, written: _Written, occasion: history.Occasion
) -> None:
    project = drift.target.project
    version = sa.table(
        project.version_table, sa.column("version_num"), schema=project.version_table_schema
    )
    connection.execute(
        sa.update(version)
        .where(version.c.version_num == written.down_revision)
        .values(version_num=written.revision)
    )
    row = {
        "environment": occasion.environment,
        "revision": written.revision,
        "down_revision": written.down_revision,
        "direction": "adopt",
        "run_id": sa.cast(sa.literal(occasion.run_id, sa.Text), sa.Uuid),
        "actor": occasion.actor,
        "reason": occasion.reason,
        **history.columns(content.read_content(project, written.revision)),
    }
    connection.execute(sa.insert(history.MIGRATION_RUN).values(row))
    record(connection, (written.revision,), drift.actual, "adopted", occasion.run_id)


def _title(drift: Drift) -> str:
    objects = list(dict.fromkeys(each.object for each in drift.differences))
    more = f" and {len(objects) - 1} more" if len(objects) > 1 else ""
    return f"Adopt what was changed by hand: {objects[0]}{more}"


def _by_hand(difference: str) -> Reason:
    return Reason(
        "by-hand",
        f"{difference}: Headway has no statement for it; write the revision by hand, or revert or "
        "accept the drift",
    )
