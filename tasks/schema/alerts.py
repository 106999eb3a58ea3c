"""What needs a person's eye, and what was done about it (revision 008)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key

alert = sa.Table(
    "alert",
    metadata,
    numbered_key(),
    # What it is about: `rollout:7`, say; with the metric it names the one open alert.
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("details", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("occurrences", sa.Integer, nullable=False, server_default="1"),
    # So many healthy values in a row were seen since the last bad one.
    sa.Column("healthy_streak", sa.Integer, nullable=False, server_default="0"),
    moment("opened_at", is_now=True),
    moment("seen_at", is_now=True),
    moment("acknowledged_at"),
    moment("resolved_at"),
    sa.CheckConstraint("subject <> '' AND metric <> ''", name="names"),
    sa.CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
    sa.CheckConstraint("state IN ('open', 'acknowledged', 'resolved')", name="state"),
    sa.CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_at"),
    sa.CheckConstraint(
        "state <> 'acknowledged' OR acknowledged_at IS NOT NULL", name="acknowledged_at"
    ),
    sa.Index(
        "idx_alert_one_open",
        "subject",
        "metric",
        unique=True,
        postgresql_where=sa.text("state <> 'resolved'"),
    ),
)

alert_change = sa.Table(
    "alert_change",
    metadata,
    numbered_key(),
    sa.Column("alert_id", sa.BigInteger, sa.ForeignKey("alert.id"), nullable=False),
    sa.Column("old_state", sa.Text),
    sa.Column("new_state", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    moment("changed_at", is_now=True),
    sa.Index("idx_alert_change_alert", "alert_id", "id"),
)
