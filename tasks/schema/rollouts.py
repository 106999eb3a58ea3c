"""Rollouts, their health and their audit (revisions 003, 007, 008 and 010)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key

rollout_state = pg.ENUM(
    "draft",
    "scheduled",
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
    sa.Column("streaks", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("control_version", sa.Text),
    sa.Column("organization", sa.Text),
    # Of the rollouts of one group only one may be under way.
    sa.Column("exclusion_group", sa.Text),
    moment("starts_at"),
    # Of all versions together, as stated by whoever started it.
    sa.Column("requests_per_hour", sa.Double),
    # Without a tick for two intervals nobody is told to use the version.
    sa.Column("is_fail_closed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tick_seconds", sa.Double, nullable=False, server_default="3600"),
    moment("ticked_at"),
    # Who is held out by a holdout that ran when it began keeps the old version meanwhile.
    sa.Column("respects_holdouts", sa.Boolean, nullable=False, server_default=sa.false()),
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
    # As text: Postgres does not let a transaction use an enum value that it has just added.
    sa.CheckConstraint(
        "state::text NOT IN ('draft', 'scheduled') OR percentage = 0", name="not_begun_is_zero"
    ),
    sa.CheckConstraint(
        "state::text <> 'scheduled' OR starts_at IS NOT NULL", name="scheduled_has_time"
    ),
    sa.CheckConstraint("control_version <> model_version", name="control_version"),
    sa.CheckConstraint("exclusion_group <> '' AND organization <> ''", name="groups"),
    sa.CheckConstraint(
        "requests_per_hour > 0 AND requests_per_hour < 'Infinity'", name="requests_per_hour"
    ),
    sa.CheckConstraint("tick_seconds > 0 AND tick_seconds <= 2678400", name="tick_seconds"),
    sa.Index(
        "idx_rollout_one_in_group",
        "exclusion_group",
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'paused', 'manual_hold')"),
    ),
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
    sa.Column("guard", sa.Text, nullable=False, server_default="threshold"),
    sa.Column("action", sa.Text, nullable=False, server_default="rollback"),
    sa.Column("is_shadow", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("is_shared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("control_value", sa.Double),
    sa.Column("control_count", sa.BigInteger),
    sa.Column("evidence", pg.JSONB, nullable=False, server_default="{}"),
    # What the guard that does not act made of it.
    sa.Column("shadow_guard", sa.Text),
    sa.Column("shadow_verdict", health_verdict),
    sa.Column("shadow_message", sa.Text),
    sa.UniqueConstraint("rollout_id", "slot", "metric"),
    sa.CheckConstraint("operator IN ('<', '<=', '>', '>=')", name="operator"),
    sa.CheckConstraint("window_start <= window_end", name="window"),
    sa.CheckConstraint("action IN ('rollback', 'hold', 'warn')", name="action"),
    sa.Index("idx_health_check_age", "checked_at"),
)

rollout_change = sa.Table(
    "rollout_change",
    metadata,
    numbered_key(),
    # Without a foreign key: a draft may be deleted, what was done to it stays known.
    sa.Column("rollout_id", sa.BigInteger, nullable=False),
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
    # The rollout's version after the change, by which a receiver tells old news from new.
    sa.Column("version", sa.Integer),
    sa.CheckConstraint(
        "cause IN ('create', 'schedule', 'edit', 'delete', 'start', 'advance', 'complete', "
        "'rollback', 'manual_rollback', 'manual_set', 'pause', 'resume', 'noop')",
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
    # The sum of the squares of the samples, for the spread of a mean.
    sa.Column("square_sum", sa.Double),
    # The sender's own name of the sample: the second time it is passed over.
    sa.Column("event_id", sa.Text),
    sa.CheckConstraint("model_version <> '' AND metric <> '' AND source <> ''", name="names"),
    sa.CheckConstraint("sample_count >= 0", name="sample_count"),
    sa.CheckConstraint("square_sum >= 0", name="square_sum"),
    sa.Index("idx_health_sample_lookup", "model_version", "metric", "observed_at"),
    sa.Index("idx_health_sample_age", "observed_at"),
    sa.Index(
        "idx_health_sample_once",
        "source",
        "event_id",
        unique=True,
        postgresql_where=sa.text("event_id IS NOT NULL"),
    ),
)

rollout_origin = sa.Table(
    "rollout_origin",
    metadata,
    sa.Column(
        "rollout_id",
        sa.BigInteger,
        sa.ForeignKey("rollout.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("experiment_id", pg.UUID(), sa.ForeignKey("ab_experiments.id"), nullable=False),
    sa.Column("variant_name", sa.Text, nullable=False),
    # The decision that named the winner.
    sa.Column("decision_id", sa.BigInteger, nullable=False),
    moment("created_at", is_now=True),
    sa.UniqueConstraint("experiment_id", "variant_name"),
)
