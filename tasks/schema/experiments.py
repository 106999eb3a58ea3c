"""Metrics of experiments and looks at them (revisions 002 and 006)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key, uuid_key

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
metric_role = pg.ENUM("primary", "guardrail", "secondary", name="metric_role", metadata=metadata)

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
    # Events count from window_start_hours to window_hours after the assignment.
    sa.Column("window_start_hours", sa.Double, nullable=False, server_default="0"),
    sa.Column("window_hours", sa.Double),
    sa.Column("cap_quantile", sa.Double),  # values above this quantile are cut to it
    sa.Column("covariate_days", sa.Integer),  # events of so many days before the assignment
    sa.Column("covariate_attribute", sa.Text),  # or a number in the assignment's metadata
    sa.Column("quantile", sa.Double),
    sa.Column("denominator_event_type", sa.Text),
    sa.Column("denominator_aggregation", metric_aggregation),
    sa.CheckConstraint(
        "window_start_hours >= 0 AND window_hours > window_start_hours", name="window"
    ),
    sa.CheckConstraint("cap_quantile > 0.5 AND cap_quantile < 1", name="cap_quantile"),
    sa.CheckConstraint("quantile > 0 AND quantile < 1", name="quantile"),
    sa.CheckConstraint("covariate_days > 0", name="covariate_days"),
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
    # Guardrails: how much worse than the control is still tolerated, relative to the control.
    sa.Column("margin", sa.Double),
    sa.CheckConstraint("margin >= 0", name="margin"),
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
    numbered_key(),
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
    sa.Column("inputs_hash", sa.Text),  # revision 006: what the look was made of
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
