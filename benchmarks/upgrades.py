"""What a safe upgrade costs beside `alembic upgrade head` of the same revisions."""

from __future__ import annotations

import contextlib
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from benchmarks.harness import Result, compare
from benchmarks.surroundings import control_database
from flows.migrate import apply_migrations
from flows.pipeline import run_by_ledger
from tasks import database
from tasks.settings import load_settings

REVISIONS = 20


def upgrade_of_20_revisions() -> Result:
    """Our upgrade without a rehearsal, with its plan and its checks, in the same process."""
    with control_database(fsync=False), _project() as folder:
        return compare(
            "upgrade-of-20-revisions",
            lambda: _ours(folder),
            lambda: _alembic(folder),
            pairs=5,
            bar=1.5,
            fixed_seconds=1.0,
            revisions=REVISIONS,
            fsync=False,
        )


def _ours(folder: Path) -> float:
    url = _empty_database()
    (folder / "headway.toml").write_text(
        f'[migrations]\nscript_location = "db"\n[environments.bench]\nurl = "{url}"\n'
    )
    load_settings.cache_clear()
    asked = {"environment": "bench", "actor": "benchmark", "reason": "to know what it costs"}
    started = time.perf_counter()
    run_by_ledger(apply_migrations, {**asked, "rehearse": False})
    return time.perf_counter() - started


def _alembic(folder: Path) -> float:
    config = Config()
    config.set_main_option("script_location", str(folder / "db"))
    config.attributes["url"] = _empty_database()
    started = time.perf_counter()
    command.upgrade(config, "head")
    return time.perf_counter() - started


def _empty_database() -> str:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with database.control_engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return database.control_engine().url.set(database=name).render_as_string(False)


@contextlib.contextmanager
def _project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as name, contextlib.chdir(name):
        folder = Path(name)
        (folder / "db" / "versions").mkdir(parents=True)
        (folder / "db" / "env.py").write_text(_ENV)
        for number in range(REVISIONS):
            (folder / "db" / "versions" / f"r{number:02}.py").write_text(_revision(number))
        try:
            yield folder
        finally:
            load_settings.cache_clear()


def _revision(number: int) -> str:
    below = f'"r{number - 1:02}"' if number else None
    return _REVISION.format(number=number, revision=f"r{number:02}", below=below)


_ENV = """
import sqlalchemy as sa
from alembic import context

with sa.create_engine(context.config.attributes["url"]).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""

_REVISION = '''"""A table and a column."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {below}


def upgrade() -> None:
    op.create_table(
        "item_{number}",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.add_column("item_{number}", sa.Column("note", sa.Text))


def downgrade() -> None:
    op.drop_table("item_{number}")
'''
