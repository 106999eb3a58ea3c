"""Grant what a migration records: fingerprints, archives, statements and lock times.

Phase: expand
Locks: none on tables of yours; grants on tables in schema headway
Reverse: takes the grants back
"""

from __future__ import annotations

from alembic import op

revision = "005"
down_revision: str | None = "004"
branch_labels: str | None = None
depends_on: str | None = None

OWNER, WRITER, READER = "headway_owner", "headway_writer", "headway_reader"

# Role, privileges, tables of schema headway.
GRANTS = (
    (OWNER, "SELECT, INSERT", ("schema_fingerprint", "accepted_drift", "lock_time")),
    (OWNER, "SELECT, INSERT, UPDATE", ("migration_statement", "migration_fence")),
    (OWNER, "SELECT, INSERT, UPDATE, DELETE", ("archive",)),
    (WRITER, "SELECT", ("schema_fingerprint", "accepted_drift", "archive", "migration_statement")),
    (WRITER, "SELECT, INSERT", ("lock_time",)),
    (READER, "SELECT", ("schema_fingerprint", "accepted_drift", "archive", "lock_time")),
)


def upgrade() -> None:
    for role, privileges, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {_listed(tables)} TO {role}")
    op.execute(f"GRANT USAGE, CREATE ON SCHEMA headway_archive TO {OWNER}")


def downgrade() -> None:
    op.execute(f"REVOKE USAGE, CREATE ON SCHEMA headway_archive FROM {OWNER}")
    for role, privileges, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {_listed(tables)} FROM {role}")


def _listed(tables: tuple[str, ...]) -> str:
    return ", ".join(f"headway.{table}" for table in tables)
