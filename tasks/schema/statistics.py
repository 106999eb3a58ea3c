"""Sufficient statistics of experiments: one value a unit, and their moments (revision 006)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tasks.schema.columns import metadata, numbered_key

# Whose values may have changed since the last fold. Without a key on purpose: a row that is being
# read is never the row that a writer relies on.
touched_unit = sa.Table(
    "touched_unit",
    metadata,
    numbered_key(),
    sa.Column("experiment_id", pg.UUID(), nullable=False),
    # One unit, or those of a whole batch in one row: cheap to write, cheap to take away.
    sa.Column("assignment_id", pg.UUID()),
    sa.Column("assignment_ids", pg.ARRAY(pg.UUID())),
    sa.CheckConstraint("num_nonnulls(assignment_id, assignment_ids) = 1", name="one_or_many"),
    sa.Index("idx_touched_unit_experiment", "experiment_id"),
)

# One unit's value of one metric, not capped. Without a value the unit is left out.
unit_value = sa.Table(
    "unit_value",
    metadata,
    sa.Column("experiment_id", pg.UUID(), primary_key=True),
    sa.Column("metric_id", pg.UUID(), primary_key=True),
    sa.Column("assignment_id", pg.UUID(), primary_key=True),
    sa.Column("variant_id", pg.UUID(), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("denominator", sa.Double),  # ratio metrics
    sa.Column("covariate", sa.Double),  # before the assignment
    sa.Column("events", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("levels", pg.JSONB),  # dimension -> level, where the experiment has dimensions
    sa.Column("matures_at", sa.DateTime(timezone=True)),  # while its window is open: the end of it
    sa.Index(
        "idx_unit_value_matures",
        "experiment_id",
        "metric_id",
        "matures_at",
        postgresql_where=sa.text("matures_at IS NOT NULL"),
    ),
)

# The moments of those values, capped: centred, so that they can be merged and taken apart.
# Dimension '' and level '' are the whole arm.
moment_statistic = sa.Table(
    "moment_statistic",
    metadata,
    sa.Column("experiment_id", pg.UUID(), primary_key=True),
    sa.Column("metric_id", pg.UUID(), primary_key=True),
    sa.Column("variant_id", pg.UUID(), primary_key=True),
    sa.Column("dimension", sa.Text, primary_key=True, server_default=""),
    sa.Column("level", sa.Text, primary_key=True, server_default=""),
    sa.Column("assigned", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("converted", sa.BigInteger, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("mean", sa.Double, nullable=False),
    sa.Column("m2", sa.Double, nullable=False),
    sa.Column("denominator_mean", sa.Double, nullable=False, server_default="0"),
    sa.Column("denominator_m2", sa.Double, nullable=False, server_default="0"),
    sa.Column("denominator_c2", sa.Double, nullable=False, server_default="0"),
    sa.Column("covariate_mean", sa.Double, nullable=False, server_default="0"),
    sa.Column("covariate_m2", sa.Double, nullable=False, server_default="0"),
    sa.Column("covariate_c2", sa.Double, nullable=False, server_default="0"),
    sa.CheckConstraint("n >= 0 AND assigned >= n", name="counts"),
)

# How far the folding of one metric of one experiment has come.
fold_state = sa.Table(
    "fold_state",
    metadata,
    sa.Column("experiment_id", pg.UUID(), primary_key=True),
    sa.Column("metric_id", pg.UUID(), primary_key=True),
    sa.Column("folded_at", sa.DateTime(timezone=True), nullable=False),
    # A checksum of the metric as it was folded: another definition is another metric.
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("cap", sa.Double),
    sa.Column("cap_frozen_on", sa.Date),
    sa.Column("recomputed_at", sa.DateTime(timezone=True)),
    sa.Column("recomputed_gap", sa.Double),  # the largest relative difference it found
)
