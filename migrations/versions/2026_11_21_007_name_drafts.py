"""Name rollouts that have not begun: drafts, and those that are scheduled.

Phase: expand
Locks: none but on the enum
Reverse: makes the enum anew, rewriting rollout and rollout_change under ACCESS EXCLUSIVE; refused
    by Postgres where a rollout still has one of the two states
"""

from __future__ import annotations

from alembic import op

revision = "007"
down_revision: str | None = "006"
branch_labels: str | None = None
depends_on: str | None = None

OWNER = "headway_owner"

# A value of an enum cannot be dropped, so the type is made anew; what names its values goes first.
DROP_STATES = (
    "DROP INDEX idx_rollout_one_active",
    """
    ALTER TABLE rollout
        DROP CONSTRAINT ck_rollout_rolled_back_is_zero,
        DROP CONSTRAINT ck_rollout_completed_is_all,
        DROP CONSTRAINT ck_rollout_paused_at,
        DROP CONSTRAINT ck_rollout_finished_at,
        ALTER state DROP DEFAULT
    """,
    "ALTER TYPE rollout_state RENAME TO rollout_state_007",
    """
    CREATE TYPE rollout_state AS ENUM (
        'running', 'paused', 'manual_hold', 'completed', 'partial', 'rolled_back'
    )
    """,
    """
    ALTER TABLE rollout
        ALTER state TYPE rollout_state USING state::text::rollout_state,
        ALTER state SET DEFAULT 'running'
    """,
    """
    ALTER TABLE rollout_change
        ALTER old_state TYPE rollout_state USING old_state::text::rollout_state,
        ALTER new_state TYPE rollout_state USING new_state::text::rollout_state
    """,
    "DROP TYPE rollout_state_007",
    """
    ALTER TABLE rollout
        ADD CONSTRAINT ck_rollout_rolled_back_is_zero
            CHECK (state <> 'rolled_back' OR percentage = 0),
        ADD CONSTRAINT ck_rollout_completed_is_all
            CHECK (state <> 'completed' OR percentage = 100),
        ADD CONSTRAINT ck_rollout_paused_at CHECK ((state = 'paused') = (paused_at IS NOT NULL)),
        ADD CONSTRAINT ck_rollout_finished_at CHECK (
            (state IN ('completed', 'partial', 'rolled_back')) = (finished_at IS NOT NULL)
        )
    """,
    """
    CREATE UNIQUE INDEX idx_rollout_one_active ON rollout (model_version)
        WHERE state IN ('running', 'paused', 'manual_hold')
    """,
    f"ALTER TYPE rollout_state OWNER TO {OWNER}",
)


def upgrade() -> None:
    op.execute("ALTER TYPE rollout_state ADD VALUE 'draft' BEFORE 'running'")
    op.execute("ALTER TYPE rollout_state ADD VALUE 'scheduled' BEFORE 'running'")


def downgrade() -> None:
    for statement in DROP_STATES:
        op.execute(statement)
