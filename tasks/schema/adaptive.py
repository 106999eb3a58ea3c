"""Layers, factors and calibrations: what adaptive experiments share and prove (revision 009)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, moment, numbered_key

# Experiments of one layer share no unit.
layer = sa.Table(
    "layer",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("description", sa.Text),
    sa.Column("created_by", sa.Text),
    moment("created_at", is_now=True),
)

# The part of a layer's buckets that is an experiment's; of what has ended, the one that it had.
layer_slot = sa.Table(
    "layer_slot",
    metadata,
    sa.Column(
        "experiment_id",
        pg.UUID(),
        sa.ForeignKey("ab_experiments.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("layer", sa.Text, sa.ForeignKey("layer.name"), nullable=False),
    sa.Column("lower_bound", sa.Double, nullable=False),
    sa.Column("upper_bound", sa.Double, nullable=False),
    sa.CheckConstraint(
        "lower_bound >= 0 AND lower_bound < upper_bound AND upper_bound <= 1", name="bounds"
    ),
    sa.Index("idx_layer_slot_layer", "layer", "lower_bound"),
)

# Which level of each factor an arm of a factorial design has.
variant_level = sa.Table(
    "variant_level",
    metadata,
    sa.Column(
        "variant_id",
        pg.UUID(),
        sa.ForeignKey("ab_variants.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("factor", sa.Text, primary_key=True),
    sa.Column("level", sa.Text, nullable=False),
)

# How often a metric's test errs on one's own units, their arms drawn anew many times.
calibration = sa.Table(
    "calibration",
    metadata,
    numbered_key(),
    sa.Column(
        "metric_id", pg.UUID(), sa.ForeignKey("metric.id", ondelete="CASCADE"), nullable=False
    ),
    # Whose units were drawn.
    sa.Column("experiment_id", pg.UUID(), sa.ForeignKey("ab_experiments.id", ondelete="CASCADE")),
    moment("calibrated_at", is_now=True),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("alpha", sa.Double, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("draws", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("false_positive_rate", sa.Double),
    sa.Column("coverage", sa.Double),
    sa.Column("srm_alarm_rate", sa.Double),
    sa.Column("verdict", sa.Text, nullable=False),  # is the promise kept?
    sa.Column("details", pg.JSONB, nullable=False, server_default="{}"),
    sa.CheckConstraint("verdict IN ('kept', 'broken', 'unknown')", name="verdict"),
    sa.Index("idx_calibration_newest", "metric_id", "calibrated_at"),
    sa.Index("idx_calibration_experiment", "experiment_id"),
)
