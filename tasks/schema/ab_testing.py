"""A/B testing, as its users gave it (revision 001): the four tables `ab_*`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, uuid_key

experiment_status = pg.ENUM(
    "draft",
    "active",
    "paused",
    "completed",
    "archived",
    name="experiment_status",
    metadata=metadata,
)

ab_experiments = sa.Table(
    "ab_experiments",
    metadata,
    uuid_key(),
    sa.Column("experiment_name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("hypothesis", sa.Text),
    sa.Column("target_bot", sa.Text),
    sa.Column("metric_type", sa.Text, nullable=False, server_default="conversion"),
    sa.Column("minimum_sample_size", sa.Integer, nullable=False, server_default="100"),
    sa.Column("status", experiment_status, nullable=False, server_default="draft"),
    moment("started_at"),
    moment("completed_at"),
    sa.Column("default_traffic_split", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("winner_variant", sa.Text),
    sa.Column("statistical_significance", sa.Double),
    moment("created_at", is_now=True),
    moment("updated_at", is_now=True),
    sa.Column("created_by", sa.Text),
    # One index serves both: the constraint carries the index's name.
    sa.UniqueConstraint("experiment_name", name="idx_experiment_name"),
    sa.Index("idx_experiment_status", "status"),
    sa.Index("idx_experiment_target_bot", "target_bot"),
    sa.Index("idx_experiment_created_at", "created_at"),
)

ab_variants = sa.Table(
    "ab_variants",
    metadata,
    uuid_key(),
    sa.Column(
        "experiment_id",
        pg.UUID(),
        sa.ForeignKey("ab_experiments.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("variant_name", sa.Text, nullable=False),
    sa.Column("variant_label", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("response_template", sa.Text),
    sa.Column("system_prompt", sa.Text),
    sa.Column("config_overrides", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("traffic_weight", sa.Double, nullable=False, server_default="0.5"),
    sa.Column("impressions", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("conversions", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("conversion_rate", sa.Double, nullable=False, server_default="0"),
    sa.Column("total_value", sa.Double, nullable=False, server_default="0"),
    sa.Column("confidence_interval_lower", sa.Double),
    sa.Column("confidence_interval_upper", sa.Double),
    sa.Column("is_control", sa.Boolean, nullable=False, server_default=sa.false()),
    moment("created_at", is_now=True),
    moment("updated_at", is_now=True),
    sa.Column("model_version", sa.Text),  # revision 006
    sa.UniqueConstraint("experiment_id", "variant_name"),
    sa.CheckConstraint("traffic_weight >= 0 AND traffic_weight <= 1", name="traffic_weight"),
    sa.CheckConstraint("conversion_rate >= 0 AND conversion_rate <= 1", name="conversion_rate"),
    sa.Index("idx_variant_experiment", "experiment_id"),
    sa.Index("idx_variant_name", "variant_name"),
)

ab_assignments = sa.Table(
    "ab_assignments",
    metadata,
    uuid_key(),
    sa.Column("experiment_id", pg.UUID(), sa.ForeignKey("ab_experiments.id"), nullable=False),
    sa.Column("variant_id", pg.UUID(), sa.ForeignKey("ab_variants.id"), nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("session_id", sa.Text),
    moment("assigned_at", is_now=True),
    sa.Column("bucket_value", sa.Double, nullable=False),
    sa.Column("has_converted", sa.Boolean, nullable=False, server_default=sa.false()),
    moment("converted_at"),
    sa.Column("metadata", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("epoch", sa.Integer),  # revision 006: the allocation that chose the arm
    sa.Column("is_override", sa.Boolean, nullable=False, server_default=sa.false()),  # 006
    sa.UniqueConstraint("experiment_id", "user_id"),
    sa.Index("idx_assignment_experiment", "experiment_id"),
    sa.Index("idx_assignment_user", "user_id"),
    sa.Index("idx_assignment_converted", "has_converted"),
    # The few units whose arm a person chose (revision 006).
    sa.Index("idx_assignment_overridden", "experiment_id", postgresql_where=sa.text("is_override")),
)

ab_metrics = sa.Table(
    "ab_metrics",
    metadata,
    uuid_key(),
    sa.Column("experiment_id", pg.UUID(), sa.ForeignKey("ab_experiments.id"), nullable=False),
    sa.Column("variant_id", pg.UUID(), sa.ForeignKey("ab_variants.id"), nullable=False),
    sa.Column("assignment_id", pg.UUID(), sa.ForeignKey("ab_assignments.id"), nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("event_value", sa.Double),
    sa.Column("event_data", pg.JSONB, nullable=False, server_default="{}"),
    moment("event_timestamp", is_now=True),
    sa.Column("source", sa.Text),
    sa.Column("session_context", pg.JSONB, nullable=False, server_default="{}"),
    moment("created_at", is_now=True),
    sa.Column("event_id", sa.Text),  # revision 002
    sa.Index("idx_metric_experiment", "experiment_id"),
    sa.Index("idx_metric_variant", "variant_id"),
    sa.Index("idx_metric_event_type", "event_type"),
    sa.Index("idx_metric_timestamp", "event_timestamp"),
    # A user may take part in two experiments, so one event may count in both.
    sa.Index("idx_metric_event_id", "experiment_id", "event_id", unique=True),
    sa.Index("idx_metric_assignment", "assignment_id"),
    # When the last events of a type came, without reading the others (revision 006).
    sa.Index("idx_metric_arrival", "experiment_id", "event_type", "created_at"),
)
