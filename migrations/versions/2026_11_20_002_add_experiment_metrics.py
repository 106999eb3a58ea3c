"""Add metrics, looks and ingestion: what is measured, what was seen, what was loaded.

Phase: expand
Locks: ab_metrics ACCESS EXCLUSIVE for one nullable column (no rewrite), then SHARE while its two
    indexes are built (reads go on, writes wait)
Reverse: drops the tables and the column with what they hold; experiments and events stay
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "002"
down_revision: str | None = "001"
branch_labels: str | None = None
depends_on: str | None = None

AGGREGATION = pg.ENUM(
    "sum",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "count",
    "any",
    name="metric_aggregation",
    create_type=False,
)
MISSING = pg.ENUM("exclude", "zero", name="metric_missing", create_type=False)
ROLE = pg.ENUM("primary", "guardrail", name="metric_role", create_type=False)


def upgrade() -> None:
    for enum in (AGGREGATION, MISSING, ROLE):
        enum.create(op.get_bind(), checkfirst=False)
    _create_metric()
    _create_experiment_metric()
    _create_variant_metric()
    _create_ingest_batch()
    _create_rejected_row()
    op.add_column("ab_metrics", sa.Column("event_id", sa.Text))
    op.create_index("idx_metric_event_id", "ab_metrics", ["experiment_id", "event_id"], unique=True)
    op.create_index("idx_metric_assignment", "ab_metrics", ["assignment_id"])


def downgrade() -> None:
    op.drop_index("idx_metric_assignment", "ab_metrics")
    op.drop_index("idx_metric_event_id", "ab_metrics")
    op.drop_column("ab_metrics", "event_id")
    for table in (
        "rejected_row",
        "ingest_batch",
        "variant_metric",
        "experiment_metric",
        "metric",
    ):
        op.drop_table(table)
    for enum in (ROLE, MISSING, AGGREGATION):
        enum.drop(op.get_bind(), checkfirst=False)


def _create_metric() -> None:
    op.create_table(
        "metric",
        sa.Column("id", pg.UUID(), nullable=False, server_default=sa.func.gen_random_uuid()),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("aggregation", AGGREGATION, nullable=False),
        sa.Column("missing", MISSING, nullable=False),
        sa.Column("is_higher_better", sa.Boolean, nullable=False, server_default=sa.true()),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_metric"),
        sa.UniqueConstraint("name", name="uq_metric_name"),
        sa.CheckConstraint(
            "kind <> 'proportion' OR (aggregation = 'any' AND missing = 'zero')",
            name=op.f("ck_metric_proportion_is_zero_or_one"),
        ),
    )


def _create_experiment_metric() -> None:
    op.create_table(
        "experiment_metric",
        sa.Column("experiment_id", pg.UUID(), nullable=False),
        sa.Column("metric_id", pg.UUID(), nullable=False),
        sa.Column("role", ROLE, nullable=False, server_default="primary"),
        sa.Column("planned_sample_size", sa.BigInteger, nullable=False),
        sa.Column("alpha", sa.Double, nullable=False, server_default="0.05"),
        sa.Column("is_stopped_at_winner", sa.Boolean, nullable=False, server_default=sa.true()),
        _now("created_at"),
        sa.PrimaryKeyConstraint("experiment_id", "metric_id", name="pk_experiment_metric"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["ab_experiments.id"],
            name="fk_experiment_metric_experiment_id",
            ondelete="CASCADE",
        ),
        _reference("experiment_metric", "metric_id", "metric"),
        sa.CheckConstraint(
            "planned_sample_size > 0", name=op.f("ck_experiment_metric_planned_sample_size")
        ),
        sa.CheckConstraint("alpha > 0 AND alpha < 1", name=op.f("ck_experiment_metric_alpha")),
    )
    op.create_index(
        "idx_experiment_metric_primary",
        "experiment_metric",
        ["experiment_id"],
        unique=True,
        postgresql_where=sa.text("role = 'primary'"),
    )


def _create_variant_metric() -> None:
    op.create_table(
        "variant_metric",
        _number(),
        sa.Column("experiment_id", pg.UUID(), nullable=False),
        sa.Column("metric_id", pg.UUID(), nullable=False),
        sa.Column("variant_id", pg.UUID(), nullable=False),
        sa.Column("look_number", sa.Integer, nullable=False),
        sa.Column("information_fraction", sa.Double, nullable=False),
        sa.Column("is_usable", sa.Boolean, nullable=False),
        sa.Column("assigned_count", sa.BigInteger, nullable=False),
        sa.Column("event_count", sa.BigInteger, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("mean", sa.Double, nullable=False),
        sa.Column("m2", sa.Double, nullable=False),
        sa.Column("difference", sa.Double),
        sa.Column("difference_lower", sa.Double),
        sa.Column("difference_upper", sa.Double),
        sa.Column("statistic", sa.Double),
        sa.Column("p_value", sa.Double),
        sa.Column("z", sa.Double),
        sa.Column("z_bound", sa.Double),
        sa.Column("alpha_spent", sa.Double),
        sa.Column("is_significant", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("decision_id", sa.BigInteger, nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_variant_metric"),
        sa.ForeignKeyConstraint(
            ["experiment_id", "metric_id"],
            ["experiment_metric.experiment_id", "experiment_metric.metric_id"],
            name="fk_variant_metric_experiment_id_metric_id",
        ),
        _reference("variant_metric", "variant_id", "ab_variants"),
        sa.UniqueConstraint(
            "experiment_id",
            "metric_id",
            "look_number",
            "variant_id",
            name="uq_variant_metric_look",
        ),
        sa.CheckConstraint("look_number >= 1", name=op.f("ck_variant_metric_look_number")),
        sa.CheckConstraint("n >= 0 AND m2 >= 0", name=op.f("ck_variant_metric_moments")),
    )
    op.create_index("idx_variant_metric_variant", "variant_metric", ["variant_id"])


def _create_ingest_batch() -> None:
    counts = ("row_count", "assignment_count", "event_count", "duplicate_count", "rejected_count")
    op.create_table(
        "ingest_batch",
        _number(),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("experiment_name", sa.Text, nullable=False, server_default=""),
        sa.Column("batch_number", sa.Integer, nullable=False),
        sa.Column("first_row", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counts),
        sa.Column("run_id", pg.UUID()),
        _now("ingested_at"),
        sa.PrimaryKeyConstraint("id", name="pk_ingest_batch"),
        sa.UniqueConstraint(
            "content_sha256",
            "experiment_name",
            "first_row",
            "row_count",
            name="uq_ingest_batch_content",
        ),
    )


def _create_rejected_row() -> None:
    op.create_table(
        "rejected_row",
        _number(),
        sa.Column("ingest_batch_id", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("experiment_name", sa.Text, nullable=False, server_default=""),
        sa.Column("line_number", sa.BigInteger, nullable=False),
        sa.Column("raw", pg.JSONB, nullable=False),
        sa.Column("reason_code", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        _now("rejected_at"),
        sa.PrimaryKeyConstraint("id", name="pk_rejected_row"),
        sa.ForeignKeyConstraint(
            ["ingest_batch_id"],
            ["ingest_batch.id"],
            name="fk_rejected_row_ingest_batch_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "content_sha256", "experiment_name", "line_number", name="uq_rejected_row_line"
        ),
    )
    op.create_index("idx_rejected_row_ingest_batch", "rejected_row", ["ingest_batch_id"])
    op.create_index("idx_rejected_row_reason_code", "rejected_row", ["reason_code"])


def _number() -> sa.Column[Any]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")
