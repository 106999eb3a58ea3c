"""An Alembic project of somebody else's, with environments of its own, for tests of migrations."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, text

from tasks import database, runs
from tasks.migrations.project import Project, configured
from tasks.settings import load_settings
from tests.conftest import created_database

REVISION = '''"""{title}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
{constants}

def upgrade() -> None:
{up}


def downgrade() -> None:
{back}
'''


@dataclass
class AlembicProject:
    """A folder with revisions and a `headway.toml`; its environments are fresh databases."""

    folder: Path
    engines: dict[str, Engine] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: str = ""

    @property
    def versions(self) -> Path:
        return self.folder / "db" / "versions"

    @property
    def project(self) -> Project:
        return configured()

    def revision(
        self,
        revision: str,
        down: str | tuple[str, ...] | None = None,
        up: str | list[str] = "pass",
        back: str | list[str] = "pass",
        *,
        file: str | None = None,
        constants: str = "",
    ) -> Path:
        """Write a revision; ``up`` and ``back`` are Python, or lists of SQL statements."""
        path = self.versions / (file or f"{revision}.py")
        path.write_text(
            REVISION.format(
                title=f"Revision {revision}",
                revision=revision,
                down=down,
                up=_body(up),
                back=_body(back),
                constants=constants,
            )
        )
        return path

    def configure(self, name: str = "", /, **options: Any) -> None:
        """Write `headway.toml` anew, with options of an environment added."""
        if name:
            self.options.setdefault(name, {}).update(options)
        lines = ['[migrations]\nscript_location = "db"', self.extra]
        for order, (each, engine) in enumerate(self.engines.items()):
            declared = {"order": order, "url": engine.url.render_as_string(False)}
            declared |= self.options.get(each, {})
            lines.append(f"[environments.{each}]")
            lines += [f"{key} = {_toml(value)}" for key, value in declared.items()]
        (self.folder / "headway.toml").write_text("\n".join(lines) + "\n")
        load_settings.cache_clear()

    def heads(self, environment: str) -> list[str]:
        """What the environment's version table says."""
        with self.engines[environment].connect() as connection:
            found = sa.inspect(connection).has_table("alembic_version")
            query = text("SELECT version_num FROM alembic_version ORDER BY 1")
            return list(connection.scalars(query)) if found else []

    def execute(self, environment: str, *statements: str) -> None:
        """Run statements in an environment's database, in one transaction."""
        with self.engines[environment].begin() as connection:
            for statement in statements:
                connection.execute(text(statement.replace(":", "\\:")))

    def rows(self, environment: str, query: str) -> list[tuple[Any, ...]]:
        """What a query answers in an environment's database."""
        with self.engines[environment].connect() as connection:
            return [tuple(row) for row in connection.execute(text(query.replace(":", "\\:")))]


@contextmanager
def alembic_project(
    folder: Path,
    server_url: str,
    monkeypatch: pytest.MonkeyPatch,
    environments: tuple[str, ...] = ("dev",),
) -> Iterator[AlembicProject]:
    """A project in the folder, its environments, and a control database of its own."""
    (folder / "db" / "versions").mkdir(parents=True)
    (folder / "db" / "env.py").write_text("raise SystemExit('Headway does not run env.py')\n")
    made = AlembicProject(folder)
    with ExitStack() as stack:
        control = stack.enter_context(created_database(server_url, "template1"))
        for name in environments:
            made.engines[name] = stack.enter_context(created_database(server_url, "template1"))
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HEADWAY_DATABASE_URL", control.url.render_as_string(False))
        made.configure()
        database.forget_control_engine()
        yield made
        database.forget_control_engine()
        load_settings.cache_clear()


@contextmanager
def in_a_run(actor: str = "ada", reason: str = "a test") -> Iterator[runs.RunInfo]:
    """A run of the ledger's own, so that steps can be called."""
    run = runs.RunInfo(
        str(uuid.uuid4()), "test", "tests:test", "ledger", actor=actor, reason=reason
    )
    with runs.in_run(run):
        yield run


def _body(code: str | list[str]) -> str:
    if isinstance(code, list):
        code = "\n".join(f"op.execute({statement!r})" for statement in code) or "pass"
    return "\n".join(f"    {line}" for line in code.splitlines())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)
