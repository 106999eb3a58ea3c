"""What the tests of migrations share: a copy of the scripts to change, and runs of the steps."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from tasks import runs
from tasks.migrations import environments, steps
from tasks.migrations.applying.moves import Moved
from tasks.migrations.project import own
from tasks.migrations.rehearsal.rehearse import find_effects
from tasks.migrations.revision_graph import graph
from tasks.migrations.revision_graph.reading import read_scripts

ROOT = Path(__file__).parents[2]
_SCRIPTS = read_scripts(own())[0]
# Every revision of the repository in the order of an upgrade, whatever their number.
ALL = [script.revision for script in graph.upward(_SCRIPTS, (s.revision for s in _SCRIPTS))]
BELOW_HEAD, HEAD = ALL[-2:]
# For scratch revisions of a test.
NEXT, AFTER_NEXT = (f"{int(HEAD) + ahead:03d}" for ahead in (1, 2))

REVISION = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {back}
'''


def copy_scripts(folder: Path) -> Path:
    """Copy what Alembic reads into the folder; returns the folder of the revisions."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "migrations", folder / "migrations", ignore=ignored)
    return folder / "migrations" / "versions"


def write_revision(
    folder: Path, revision: str, down: str, up: str = "pass", back: str = "pass"
) -> Path:
    path = folder / f"{revision}_test.py"
    path.write_text(
        REVISION.format(title=f"Test {revision}", revision=revision, down=down, up=up, back=back)
    )
    return path


def start_run(actor: str | None = None, reason: str | None = None) -> runs.RunInfo:
    return runs.RunInfo(
        str(uuid.uuid4()), "test", "tests:test", "ledger", actor=actor, reason=reason
    )


def apply_all(environment: str = "local") -> list[Moved]:
    """A whole run, in a run of its own; nothing is rehearsed or validated."""
    with runs.in_run(start_run()):
        plan = steps.plan_migrations(environment=environment)
        plan.require_not_refused()
        return [
            steps.apply_revision(environment=environment, revision=planned.revision)
            for planned in plan.revisions
        ]


def roll_back(revision: str, environment: str = "local", **options: Any) -> Moved:
    """Undo a revision as a flow does: first find out what goes."""
    target = environments.find(environment)
    found = find_effects(target, [revision], "downgrade")
    return steps.roll_back_revision(
        environment=environment, revision=revision, taken=found.effects[0], **options
    )


def history(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT direction, revision FROM headway.migration_run "
                "WHERE outcome = 'done' ORDER BY id"
            )
        )
        return [(row.direction, row.revision) for row in rows]
