"""The one description of the application's tables; Alembic compares it with the database.

Times are timestamptz, fractions lie in 0..1, ids are UUIDs made by Postgres. Every default is the
server's, so a row written by hand and one written by Headway are alike. Revisions in
`migrations/versions` do not import this module: they say what was true when they were written.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "idx_%(table_name)s_%(column_0_N_name)s",
    }
)


def uuid_key() -> sa.Column[UUID]:
    """The primary key `id`: a random UUID made by the server."""
    return sa.Column("id", pg.UUID(), primary_key=True, server_default=sa.func.gen_random_uuid())


def moment(name: str, *, is_now: bool = False) -> sa.Column[datetime]:
    """A timestamptz column; with ``is_now`` it is mandatory and defaults to now()."""
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not is_now,
        server_default=sa.func.now() if is_now else None,
    )


# --- A/B testing (revision 001) ------------------------------------------------------------------

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
    sa.UniqueConstraint("experiment_id", "user_id"),
    sa.Index("idx_assignment_experiment", "experiment_id"),
    sa.Index("idx_assignment_user", "user_id"),
    sa.Index("idx_assignment_converted", "has_converted"),
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
)

# --- Rollouts (revision 003) ---------------------------------------------------------------------

rollout_state = pg.ENUM(
    "running",
    "paused",
    "manual_hold",
    "completed",
    "partial",
    "rolled_back",
    name="rollout_state",
    metadata=metadata,
)
health_verdict = pg.ENUM(
    "healthy", "unhealthy", "inconclusive", name="health_verdict", metadata=metadata
)


def numbered_key() -> sa.Column[int]:
    """The primary key `id`: numbered by the server, so that later rows have higher numbers."""
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True)


def rollout_reference() -> sa.Column[int]:
    """The rollout that the row belongs to."""
    return sa.Column("rollout_id", sa.BigInteger, sa.ForeignKey("rollout.id"), nullable=False)


rollout = sa.Table(
    "rollout",
    metadata,
    numbered_key(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("experiment_id", pg.UUID(), sa.ForeignKey("ab_experiments.id")),
    sa.Column("variant", sa.Text),
    sa.Column("salt", sa.Text, nullable=False),
    sa.Column("is_salt_inherited", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("hash_version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("percentage", sa.Double, nullable=False, server_default="0"),
    sa.Column("state", rollout_state, nullable=False, server_default="running"),
    sa.Column("stage_index", sa.Integer, nullable=False, server_default="0"),
    moment("stage_entered_at", is_now=True),
    moment("paused_at"),
    sa.Column("paused_seconds", sa.Double, nullable=False, server_default="0"),
    moment("inconclusive_since"),
    sa.Column("is_hold_escalated", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("source_error_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("policy", pg.JSONB, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    moment("created_at", is_now=True),
    moment("finished_at"),
    sa.UniqueConstraint("name"),
    sa.CheckConstraint("name <> '' AND model_version <> ''", name="names"),
    # NaN is greater than every number, so the upper bound keeps it out.
    sa.CheckConstraint("percentage >= 0 AND percentage <= 100", name="percentage"),
    sa.CheckConstraint("state <> 'rolled_back' OR percentage = 0", name="rolled_back_is_zero"),
    sa.CheckConstraint("state <> 'completed' OR percentage = 100", name="completed_is_all"),
    sa.CheckConstraint("(state = 'paused') = (paused_at IS NOT NULL)", name="paused_at"),
    sa.CheckConstraint(
        "(state IN ('completed', 'partial', 'rolled_back')) = (finished_at IS NOT NULL)",
        name="finished_at",
    ),
    sa.CheckConstraint("salt LIKE 'rollout:%'", name="salt_purpose"),
    sa.CheckConstraint("hash_version = 1", name="hash_version"),
    sa.CheckConstraint("stage_index >= -1", name="stage_index"),
    sa.Index(
        "idx_rollout_one_active",
        "model_version",
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'paused', 'manual_hold')"),
    ),
    sa.Index("idx_rollout_model_version", "model_version", "id"),
    sa.Index("idx_rollout_experiment", "experiment_id"),
)

rollout_stage = sa.Table(
    "rollout_stage",
    metadata,
    sa.Column("rollout_id", sa.BigInteger, sa.ForeignKey("rollout.id"), primary_key=True),
    sa.Column("stage_index", sa.Integer, primary_key=True),
    sa.Column("percentage", sa.Double, nullable=False),
    sa.Column("duration_seconds", sa.Double, nullable=False),
    sa.CheckConstraint("percentage > 0 AND percentage <= 100", name="percentage"),
    sa.CheckConstraint("duration_seconds >= 0", name="duration_seconds"),
    sa.CheckConstraint("stage_index >= 0", name="stage_index"),
)

health_check = sa.Table(
    "health_check",
    metadata,
    numbered_key(),
    rollout_reference(),
    sa.Column("slot", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("verdict", health_verdict, nullable=False),
    sa.Column("reason_code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("operator", sa.Text),
    sa.Column("limit_value", sa.Double, nullable=False),
    sa.Column("sample_count", sa.BigInteger),
    sa.Column("min_samples", sa.BigInteger, nullable=False),
    sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
    sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
    sa.Column("decision_id", sa.BigInteger, nullable=False),
    sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("rollout_id", "slot", "metric"),
    sa.CheckConstraint("operator IN ('<', '>')", name="operator"),
    sa.CheckConstraint("window_start <= window_end", name="window"),
)

rollout_change = sa.Table(
    "rollout_change",
    metadata,
    numbered_key(),
    rollout_reference(),
    sa.Column("old_percentage", sa.Double, nullable=False),
    sa.Column("new_percentage", sa.Double, nullable=False),
    sa.Column("old_state", rollout_state),
    sa.Column("new_state", rollout_state, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("slot", sa.Text),
    sa.Column("decision_id", sa.BigInteger),
    sa.Column("health_check_id", sa.BigInteger, sa.ForeignKey("health_check.id")),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "cause IN ('start', 'advance', 'complete', 'rollback', 'manual_rollback', 'manual_set', "
        "'pause', 'resume', 'noop')",
        name="cause",
    ),
    sa.CheckConstraint("new_percentage >= 0 AND new_percentage <= 100", name="new_percentage"),
    sa.Index("idx_rollout_change_rollout", "rollout_id", "id"),
    sa.Index("idx_rollout_change_health_check", "health_check_id"),
)

health_sample = sa.Table(
    "health_sample",
    metadata,
    numbered_key(),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    # The sum over sample_count samples; without a count, the value itself.
    sa.Column("value_sum", sa.Double, nullable=False),
    sa.Column("sample_count", sa.BigInteger),
    sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    moment("recorded_at", is_now=True),
    sa.CheckConstraint("model_version <> '' AND metric <> '' AND source <> ''", name="names"),
    sa.CheckConstraint("sample_count >= 0", name="sample_count"),
    sa.Index("idx_health_sample_lookup", "model_version", "metric", "observed_at"),
)


# --- Experiment metrics and ingestion (revision 002) ---------------------------------------------

metric_aggregation = pg.ENUM(
    "sum",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "count",
    "any",
    name="metric_aggregation",
    metadata=metadata,
)
metric_missing = pg.ENUM("exclude", "zero", name="metric_missing", metadata=metadata)
metric_role = pg.ENUM("primary", "guardrail", name="metric_role", metadata=metadata)

metric = sa.Table(
    "metric",
    metadata,
    uuid_key(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("description", sa.Text),
    # Text, not an enum: kinds are open by registry (tasks/experiments/metrics.py).
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("aggregation", metric_aggregation, nullable=False),
    sa.Column("missing", metric_missing, nullable=False),
    sa.Column("is_higher_better", sa.Boolean, nullable=False, server_default=sa.true()),
    moment("created_at", is_now=True),
    sa.CheckConstraint(
        "kind <> 'proportion' OR (aggregation = 'any' AND missing = 'zero')",
        name="proportion_is_zero_or_one",
    ),
)

experiment_metric = sa.Table(
    "experiment_metric",
    metadata,
    sa.Column(
        "experiment_id",
        pg.UUID(),
        sa.ForeignKey("ab_experiments.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("metric_id", pg.UUID(), sa.ForeignKey("metric.id"), primary_key=True),
    sa.Column("role", metric_role, nullable=False, server_default="primary"),
    # Units with a value, over all arms: where the information fraction is 1.
    sa.Column("planned_sample_size", sa.BigInteger, nullable=False),
    sa.Column("alpha", sa.Double, nullable=False, server_default="0.05"),
    sa.Column("is_stopped_at_winner", sa.Boolean, nullable=False, server_default=sa.true()),
    moment("created_at", is_now=True),
    sa.CheckConstraint("planned_sample_size > 0", name="planned_sample_size"),
    sa.CheckConstraint("alpha > 0 AND alpha < 1", name="alpha"),
    sa.Index(
        "idx_experiment_metric_primary",
        "experiment_id",
        unique=True,
        postgresql_where=sa.text("role = 'primary'"),
    ),
)

variant_metric = sa.Table(
    "variant_metric",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("experiment_id", pg.UUID(), nullable=False),
    sa.Column("metric_id", pg.UUID(), nullable=False),
    sa.Column("variant_id", pg.UUID(), sa.ForeignKey("ab_variants.id"), nullable=False),
    sa.Column("look_number", sa.Integer, nullable=False),
    sa.Column("information_fraction", sa.Double, nullable=False),
    # False where a gate was closed at that look: its z then never counts as a crossing.
    sa.Column("is_usable", sa.Boolean, nullable=False),
    sa.Column("assigned_count", sa.BigInteger, nullable=False),
    sa.Column("event_count", sa.BigInteger, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("mean", sa.Double, nullable=False),
    sa.Column("m2", sa.Double, nullable=False),
    # Against the control; null for the control itself and where undefined.
    sa.Column("difference", sa.Double),
    sa.Column("difference_lower", sa.Double),
    sa.Column("difference_upper", sa.Double),
    sa.Column("statistic", sa.Double),
    sa.Column("p_value", sa.Double),
    sa.Column("z", sa.Double),
    sa.Column("z_bound", sa.Double),
    sa.Column("alpha_spent", sa.Double),
    sa.Column("is_significant", sa.Boolean, nullable=False, server_default=sa.false()),
    # headway.decision.id; not a foreign key, because that schema is not Alembic's.
    sa.Column("decision_id", sa.BigInteger, nullable=False),
    sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(
        ["experiment_id", "metric_id"],
        ["experiment_metric.experiment_id", "experiment_metric.metric_id"],
        name="fk_variant_metric_experiment_id_metric_id",
    ),
    sa.UniqueConstraint(
        "experiment_id", "metric_id", "look_number", "variant_id", name="uq_variant_metric_look"
    ),
    sa.CheckConstraint("look_number >= 1", name="look_number"),
    sa.CheckConstraint("n >= 0 AND m2 >= 0", name="moments"),
    sa.Index("idx_variant_metric_variant", "variant_id"),
)

ingest_batch = sa.Table(
    "ingest_batch",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
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
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
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
