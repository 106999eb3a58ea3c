"""What an experiment was planned to be, and who gets which arm (revisions 006, 009 and 010)."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment


def experiment_reference(*, is_key: bool = False) -> sa.Column[UUID]:
    """The experiment that the row belongs to and goes with."""
    return sa.Column(
        "experiment_id",
        pg.UUID(),
        sa.ForeignKey("ab_experiments.id", ondelete="CASCADE"),
        primary_key=is_key,
        nullable=False,
    )


# What `ab_experiments` has no column for; one row an experiment.
experiment_plan = sa.Table(
    "experiment_plan",
    metadata,
    experiment_reference(is_key=True),
    # Text, not enums: methods and policies are open by registry.
    sa.Column("method", sa.Text, nullable=False, server_default="group_sequential"),
    sa.Column("method_options", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("policy", sa.Text, nullable=False, server_default="select"),
    sa.Column("power", sa.Double, nullable=False, server_default="0.8"),
    sa.Column("minimum_effect", sa.Double),  # relative to the control: 0.05 is 5 %
    sa.Column("minimum_weeks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reserved_alpha", sa.Double, nullable=False, server_default="0"),
    sa.Column("tie_break_metric", sa.Text),
    sa.Column("organization", sa.Text),
    sa.Column("traffic_fraction", sa.Double, nullable=False, server_default="1"),
    sa.Column("target_rules", pg.JSONB, nullable=False, server_default="[]"),
    sa.Column("dimensions", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    moment("starts_at"),
    moment("ends_at"),
    sa.Column("bandit", pg.JSONB(none_as_null=True)),  # how the split follows the figures
    sa.Column("factors", pg.JSONB(none_as_null=True)),  # of a factorial design, with their levels
    sa.Column("generators", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("is_holdout", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("segment_of", sa.Text),  # the experiment that it was cut out of
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.CheckConstraint("power > 0 AND power < 1", name="power"),
    sa.CheckConstraint("minimum_effect > 0", name="minimum_effect"),
    sa.CheckConstraint("minimum_weeks >= 0", name="minimum_weeks"),
    sa.CheckConstraint("reserved_alpha >= 0 AND reserved_alpha < 1", name="reserved_alpha"),
    sa.CheckConstraint("traffic_fraction > 0 AND traffic_fraction <= 1", name="traffic_fraction"),
    sa.CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    # Holdouts are few, and are looked for whenever somebody is let in.
    sa.Index(
        "idx_experiment_plan_holdout",
        "experiment_id",
        postgresql_where=sa.text("is_holdout"),
    ),
)

# Every split of the traffic that ever held, from when on; the newest one holds.
allocation = sa.Table(
    "allocation",
    metadata,
    experiment_reference(is_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    moment("started_at", is_now=True),
    sa.Column("actor", sa.Text),
    sa.Column("reason", sa.Text),
    sa.CheckConstraint("epoch >= 1", name="epoch"),
)

allocation_weight = sa.Table(
    "allocation_weight",
    metadata,
    sa.Column("experiment_id", pg.UUID(), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column(
        "variant_id",
        pg.UUID(),
        sa.ForeignKey("ab_variants.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("weight", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(
        ["experiment_id", "epoch"],
        ["allocation.experiment_id", "allocation.epoch"],
        name="fk_allocation_weight_epoch",
        ondelete="CASCADE",
    ),
    sa.CheckConstraint("weight >= 0 AND weight <= 1", name="weight"),
    sa.Index("idx_allocation_weight_variant", "variant_id"),
)

# Which buckets belong to which arm: from the bound up to the next one.
allocation_range = sa.Table(
    "allocation_range",
    metadata,
    sa.Column("experiment_id", pg.UUID(), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("lower_bound", sa.Double, primary_key=True, autoincrement=False),
    sa.Column(
        "variant_id",
        pg.UUID(),
        sa.ForeignKey("ab_variants.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.ForeignKeyConstraint(
        ["experiment_id", "epoch"],
        ["allocation.experiment_id", "allocation.epoch"],
        name="fk_allocation_range_epoch",
        ondelete="CASCADE",
    ),
    sa.CheckConstraint("lower_bound >= 0 AND lower_bound < 1", name="lower_bound"),
    sa.Index("idx_allocation_range_variant", "variant_id"),
)

# Units whose arm a person chose; they are left out of the analysis.
assignment_override = sa.Table(
    "assignment_override",
    metadata,
    experiment_reference(is_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column(
        "variant_id",
        pg.UUID(),
        sa.ForeignKey("ab_variants.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("actor", sa.Text),
    sa.Column("reason", sa.Text),
    moment("created_at", is_now=True),
    sa.Index("idx_assignment_override_variant", "variant_id"),
)
