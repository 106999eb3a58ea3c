"""What was loaded, what waits, and what did not fit (revisions 002 and 006)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key
from tasks.schema.planning import experiment_reference

ingest_batch = sa.Table(
    "ingest_batch",
    metadata,
    numbered_key(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("content_sha256", sa.Text, nullable=False),
    sa.Column("experiment_name", sa.Text, nullable=False, server_default=""),
    sa.Column("batch_number", sa.Integer, nullable=False),
    sa.Column("first_row", sa.BigInteger, nullable=False),
    sa.Column("row_count", sa.BigInteger, nullable=False),
    sa.Column("assignment_count", sa.BigInteger, nullable=False),
    sa.Column("event_count", sa.BigInteger, nullable=False),
    sa.Column("duplicate_count", sa.BigInteger, nullable=False),
    sa.Column("rejected_count", sa.BigInteger, nullable=False),
    sa.Column("corrected_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("waiting_count", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("run_id", pg.UUID()),
    moment("ingested_at", is_now=True),
    sa.UniqueConstraint(
        "content_sha256",
        "experiment_name",
        "first_row",
        "row_count",
        name="uq_ingest_batch_content",
    ),
)

rejected_row = sa.Table(
    "rejected_row",
    metadata,
    numbered_key(),
    sa.Column(
        "ingest_batch_id",
        sa.BigInteger,
        sa.ForeignKey("ingest_batch.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("content_sha256", sa.Text, nullable=False),
    sa.Column("experiment_name", sa.Text, nullable=False, server_default=""),
    sa.Column("line_number", sa.BigInteger, nullable=False),
    sa.Column("raw", pg.JSONB, nullable=False),
    sa.Column("reason_code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    moment("rejected_at", is_now=True),
    sa.UniqueConstraint(
        "content_sha256", "experiment_name", "line_number", name="uq_rejected_row_line"
    ),
    sa.Index("idx_rejected_row_ingest_batch", "ingest_batch_id"),
    sa.Index("idx_rejected_row_reason_code", "reason_code"),
)

# Events that came before their assignment; they move on when it does.
waiting_event = sa.Table(
    "waiting_event",
    metadata,
    numbered_key(),
    experiment_reference(),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("variant", sa.Text),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("event_value", sa.Double),
    sa.Column("event_data", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("event_timestamp", sa.DateTime(timezone=True), nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("session_context", pg.JSONB, nullable=False, server_default="{}"),
    moment("received_at", is_now=True),
    sa.UniqueConstraint("experiment_id", "event_id", name="uq_waiting_event_id"),
    sa.Index("idx_waiting_event_user", "experiment_id", "user_id"),
)

# What an event said before it was corrected; a trigger on `ab_metrics` writes it.
event_correction = sa.Table(
    "event_correction",
    metadata,
    numbered_key(),
    experiment_reference(),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("previous", pg.JSONB, nullable=False),
    moment("corrected_at", is_now=True),
    sa.Index("idx_event_correction_event", "experiment_id", "event_id"),
)

# Statistics that somebody else aggregated: cumulative, one arm at one moment.
aggregate_statistic = sa.Table(
    "aggregate_statistic",
    metadata,
    experiment_reference(is_key=True),
    sa.Column("metric_id", pg.UUID(), sa.ForeignKey("metric.id"), primary_key=True),
    sa.Column(
        "variant_id",
        pg.UUID(),
        sa.ForeignKey("ab_variants.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("observed_at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("assigned", sa.BigInteger, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("mean", sa.Double, nullable=False),
    sa.Column("m2", sa.Double, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    moment("loaded_at", is_now=True),
    sa.CheckConstraint("assigned >= n AND n >= 0 AND m2 >= 0", name="moments"),
    sa.Index("idx_aggregate_statistic_variant", "variant_id"),
    sa.Index("idx_aggregate_statistic_metric", "metric_id"),
)

# When the rows of a table were last held to their suite, and what was found.
suite_check = sa.Table(
    "suite_check",
    metadata,
    sa.Column("suite", sa.Text, primary_key=True),
    sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
    # All rows; those that came since are held to it at every look.
    sa.Column("fully_checked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("findings", pg.JSONB, nullable=False),
)
