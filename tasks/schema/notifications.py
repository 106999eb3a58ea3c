"""What people are told, each thing once a channel (revision 006)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key

notification = sa.Table(
    "notification",
    metadata,
    numbered_key(),
    sa.Column("dedupe_key", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("payload", pg.JSONB, nullable=False),
    moment("created_at", is_now=True),
    moment("sent_at"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_error", sa.Text),
    sa.UniqueConstraint("channel", "dedupe_key", name="uq_notification_once"),
    sa.Index("idx_notification_unsent", "id", postgresql_where=sa.text("sent_at IS NULL")),
)
