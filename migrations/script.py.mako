"""${message}.

Phase: expand | migrate | contract
    expand   adds what the next release needs; the running release does not notice it
    migrate  moves data, in batches, in a revision without DDL
    contract removes what no running release uses any more
Locks: which tables are locked, how strongly, for how long (metadata only? a scan? a rewrite?)
Reverse: what the downgrade does, and what it loses

Policy
- Every revision runs in one transaction with its history row, under lock_timeout (5 s unless
  HEADWAY_LOCK_TIMEOUT_SECONDS says otherwise). When it cannot get a lock it fails and is tried
  again; do not raise the limit, find out who holds the lock.
- Override statement_timeout only here, for a validation that is known to scan for long:
  op.execute("SET LOCAL statement_timeout = '10min'").
- Indexes on existing tables: postgresql_concurrently=True inside
  `with op.get_context().autocommit_block():`, alone in the revision.
- Constraints on existing tables: NOT VALID here, VALIDATE in the next revision.
- Do not import the application: write the tables down as they are at this revision.
- The downgrade is real. If there is no way back, raise an error that says so.
Delete from "Policy" on when the revision is written.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision: str | tuple[str, ...] | None = ${repr(down_revision)}
branch_labels: str | None = ${repr(branch_labels)}
depends_on: str | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
