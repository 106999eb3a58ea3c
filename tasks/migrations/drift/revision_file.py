"""The text of a revision that runs given statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tasks.migrations.drift.ddl import Ddl
from tasks.migrations.drift.running import escaped

_TEMPLATE = '''"""{title}.

Revision ID: {revision}
Revises: {down}
Create Date: {now:%Y-%m-%d %H:%M}

It was done by hand in one environment; there it is recorded as applied.
"""

from __future__ import annotations

from alembic import op

revision = "{revision}"
down_revision = "{down}"
branch_labels = None
depends_on = None
{constants}

def upgrade() -> None:
    """Do it here too."""
{upgrade}


def downgrade() -> None:
    """{undo}."""
{downgrade}
'''


def write_revision(
    path: Path, revision: str, down_revision: str, title: str, up: Ddl, down: Ddl
) -> None:
    """Write a revision's file. What cannot be undone by SQL makes it irreversible, and says so."""
    problem = f"by hand only: {'; '.join(down.by_hand)}" if down.by_hand else None
    text = _TEMPLATE.format(
        title=title.replace('"""', "'''").replace("\\", "/"),
        revision=revision,
        down=down_revision,
        now=datetime.now(UTC),
        constants=f"irreversible = {problem!r}\n" if problem else "",
        upgrade=_body(up.statements),
        undo="There is no way back" if problem else "Take it back",
        downgrade=f"    raise NotImplementedError({problem!r})"
        if problem
        else _body(down.statements),
    )
    path.write_text(text, "utf-8")


def _body(statements: Sequence[str]) -> str:
    return "\n".join(f"    op.execute({_literal(escaped(each))})" for each in statements)


def _literal(sql: str) -> str:
    """As it would be written by hand where that can be done."""
    if "\n" not in sql or '"""' in sql or "\\" in sql or sql.endswith('"'):
        return repr(sql)
    return f'"""{sql}"""'
