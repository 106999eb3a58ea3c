"""Join heads: run them in every order on scratch databases, then write the merge revision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import sqlalchemy as sa
from alembic import util
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tasks.bootstrap import bootstrap
from tasks.database import load_queries
from tasks.errors import InputError
from tasks.migrations import environments, fingerprint
from tasks.migrations.applying import runner
from tasks.migrations.fingerprint import Fingerprint
from tasks.migrations.merging.commutation import BranchHead, MergeProof, OrderRun
from tasks.migrations.project import Project
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.reading import find_file, read_scripts
from tasks.migrations.revision_graph.script import Script
from tasks.migrations.scratch import scratch_database

QUERIES = load_queries(__package__, "merging.sql")
_ALL_ORDERS = 3  # of more heads, only as many orders as there are heads, and back

_TEMPLATE = '''"""{title}.

Revision ID: {revision}
Revises: {revises}
Create Date: {now:%Y-%m-%d %H:%M}
"""

from __future__ import annotations

revision = "{revision}"
down_revision = {down}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do: the branches give the same schema in every order."""


def downgrade() -> None:
    """Nothing to undo: the branches stay, as heads of their own."""
'''


def prove_commutes(project: Project, server_url: str, heads: Sequence[str]) -> MergeProof:
    """Run the branches of these heads in different orders, each on an empty scratch database.

    What the heads have in common runs first. Nothing else is changed; `judge_merge` says what
    the proof means. ``server_url`` names a database of a server that scratch databases may be
    made on.

    Raises:
        InputError: these are not heads, or what they have in common does not run on an empty
            database.
    """
    scripts = _sound(project, heads)
    common = _in_common(scripts, heads)
    with scratch_database(server_url) as base_url:
        with environments.engine(base_url, "headway-resolve").connect() as connection:
            bootstrap(connection)
            connection.commit()
            failed = _run(connection, project, graph.upward(scripts, common))
            if failed is not None:
                message = "what the heads have in common does not run on an empty database"
                raise InputError(f"{message}: {failed[0]}: {failed[1]}")
            before = _fingerprint(connection, project)
        template = make_url(base_url).database
        tried = []
        for order in _orders(heads):
            with (
                scratch_database(server_url, template=template) as url,
                environments.engine(url, "headway-resolve").connect() as connection,
            ):
                tried.append(_try(connection, project, scripts, common, order))
    return _proof(scripts, heads, before, tried)


def write_merge(project: Project, heads: Sequence[str], message: str | None = None) -> Path:
    """Write the revision that joins the heads; returns its file.

    By the project's own template (`script.py.mako`) if it has one.
    """
    scripts = _sound(project, heads)
    revision = next_id(scripts)
    title = message or f"Merge {' and '.join(heads)}"
    if (project.script_location / "script.py.mako").exists():
        config = project.alembic_config()
        directory = ScriptDirectory.from_config(config)
        made = directory.generate_revision(revision, title, head=list(heads), config=config)
        if made is None:
            raise InputError(f"the template of {project.script_location} gives no revision")
        return Path(made.path)
    path = find_file(project, heads[0]).parent / f"{revision}_merge.py"
    path.write_text(
        _TEMPLATE.format(
            title=title,
            revision=revision,
            revises=", ".join(heads),
            down=_tuple(heads),
            now=datetime.now(UTC),
        ),
        "utf-8",
    )
    return path


def next_id(scripts: Sequence[Script]) -> str:
    """An id for a new revision: the next number where ids are numbers, else a random one."""
    ids = [script.revision for script in scripts]
    if ids and all(each.isdecimal() for each in ids) and len({len(each) for each in ids}) == 1:
        return f"{max(map(int, ids)) + 1:0{len(ids[0])}d}"
    return util.rev_id()


def _sound(project: Project, heads: Sequence[str]) -> tuple[Script, ...]:
    scripts, unreadable = read_scripts(project)
    problems = [f"{u.file}: {u.problem}" for u in unreadable]
    problems += [reason.message for reason in graph.faults(scripts)]
    if problems:
        raise InputError(f"the revisions contradict each other: {'; '.join(problems)}")
    known = [script.revision for script in graph.heads(scripts)]
    if len(set(heads)) < 2 or not set(heads) <= set(known):
        raise InputError(f"name two heads or more; the heads are {', '.join(known) or 'none'}")
    return scripts


def _tuple(heads: Sequence[str]) -> str:
    quoted = ", ".join(f'"{head}"' for head in heads)
    return f"({quoted})"


def _orders(heads: Sequence[str]) -> list[tuple[str, ...]]:
    if len(heads) <= _ALL_ORDERS:
        return list(permutations(heads))
    rotated = [tuple(heads[n:]) + tuple(heads[:n]) for n in range(len(heads))]
    return [*rotated, tuple(reversed(heads))]


def _in_common(scripts: Sequence[Script], heads: Sequence[str]) -> frozenset[str]:
    return frozenset.intersection(*(graph.with_ancestors(scripts, [head]) for head in heads))


Tried = tuple[OrderRun, Fingerprint | None, Fingerprint | None]


def _try(
    connection: Connection,
    project: Project,
    scripts: Sequence[Script],
    common: frozenset[str],
    order: tuple[str, ...],
) -> Tried:
    """The run, the schema after its first branch, and after all of them."""
    done = set(common)
    after_first: Fingerprint | None = None
    for head in order:
        branch = graph.with_ancestors(scripts, [head]) - done
        failed = _run(connection, project, graph.upward(scripts, branch))
        if failed is not None:
            run = OrderRun(order=order, failed_at=failed[0], problem=failed[1])
            return run, after_first, None
        done |= branch
        after_first = after_first or _fingerprint(connection, project)
    last = _fingerprint(connection, project)
    rows = dict(_row_checksums(connection, project))
    return OrderRun(order=order, fingerprint=last.hash, rows=rows), after_first, last


def _run(
    connection: Connection, project: Project, scripts: Sequence[Script]
) -> tuple[str, str] | None:
    """Apply the revisions; which one failed and why, if one did."""
    for script in scripts:
        connection.rollback()
        try:
            runner.move(connection, project, script.revision, "upgrade")
        except Exception as error:  # whatever the revision's own code raises
            cause = error.orig if isinstance(error, DBAPIError) else error
            return script.revision, str(cause).partition("\n")[0]
    connection.rollback()
    return None


def _fingerprint(connection: Connection, project: Project) -> Fingerprint:
    table = (project.version_table_schema, project.version_table)
    found = fingerprint.take(
        connection, schemas=project.schemas, ignore=project.ignore, version_table=table
    )
    connection.rollback()
    return found


def _row_checksums(connection: Connection, project: Project) -> Iterator[tuple[str, str]]:
    asked = {"version_table": project.version_table}
    row = sa.cast(sa.func.to_jsonb(sa.literal_column("each")), sa.Text)
    checksum = sa.func.md5(sa.func.string_agg(row, aggregate_order_by(sa.literal(" "), row)))
    for found in connection.execute(QUERIES["tables"], asked).all():
        table = sa.table(found.table_name, schema=found.schema_name).alias("each")
        value = connection.scalar(sa.select(checksum).select_from(table))
        if value is not None:
            yield f"{found.schema_name}.{found.table_name}", value


def _proof(
    scripts: Sequence[Script], heads: Sequence[str], before: Fingerprint, tried: Sequence[Tried]
) -> MergeProof:
    files = {script.revision: script.file for script in scripts}
    touches: dict[str, tuple[str, ...]] = {}
    for run, after_first, _ in tried:
        if after_first is not None:
            touches[run.order[0]] = _changed(before, after_first)
    finals = [last for _, _, last in tried if last is not None]
    differences = {name for last in finals[1:] for name in _changed(finals[0], last)}
    rows = [run.rows for run, _, last in tried if last is not None]
    for other in rows[1:]:
        tables = rows[0].keys() | other.keys()
        differences |= {f"rows of {t}" for t in tables if rows[0].get(t) != other.get(t)}
    return MergeProof(
        heads=tuple(
            BranchHead(revision=head, file=files[head], touches=touches.get(head, ()))
            for head in heads
        ),
        runs=tuple(run for run, _, _ in tried),
        differences=tuple(sorted(differences)),
    )


def _changed(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    found = fingerprint.compare(before, after)
    return tuple(sorted({item.object for item in found if not item.is_information}))
