"""Add the A/B testing tables: experiments, variants, assignments, metrics.

Phase: expand   Locks: none on existing tables (everything is new)
Reverse: drops the four tables with their rows, then the enum type
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

STATUS = pg.ENUM(
    "draft",
    "active",
    "paused",
    "completed",
    "archived",
    name="experiment_status",
    create_type=False,
)


def upgrade() -> None:
    STATUS.create(op.get_bind(), checkfirst=False)
    _create_experiments()
    _create_variants()
    _create_assignments()
    _create_metrics()


def downgrade() -> None:
    for table in ("ab_metrics", "ab_assignments", "ab_variants", "ab_experiments"):
        op.drop_table(table)
    STATUS.drop(op.get_bind(), checkfirst=False)


def _create_experiments() -> None:
    op.create_table(
        "ab_experiments",
        _key(),
        sa.Column("experiment_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("hypothesis", sa.Text),
        sa.Column("target_bot", sa.Text),
        sa.Column("metric_type", sa.Text, nullable=False, server_default="conversion"),
        sa.Column("minimum_sample_size", sa.Integer, nullable=False, server_default="100"),
        sa.Column("status", STATUS, nullable=False, server_default="draft"),
        _moment("started_at"),
        _moment("completed_at"),
        _json("default_traffic_split"),
        sa.Column("winner_variant", sa.Text),
        sa.Column("statistical_significance", sa.Double),
        _now("created_at"),
        _now("updated_at"),
        sa.Column("created_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_ab_experiments"),
        sa.UniqueConstraint("experiment_name", name="idx_experiment_name"),
    )
    op.create_index("idx_experiment_status", "ab_experiments", ["status"])
    op.create_index("idx_experiment_target_bot", "ab_experiments", ["target_bot"])
    op.create_index("idx_experiment_created_at", "ab_experiments", ["created_at"])


def _create_variants() -> None:
    op.create_table(
        "ab_variants",
        _key(),
        sa.Column("experiment_id", pg.UUID(), nullable=False),
        sa.Column("variant_name", sa.Text, nullable=False),
        sa.Column("variant_label", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("response_template", sa.Text),
        sa.Column("system_prompt", sa.Text),
        _json("config_overrides"),
        sa.Column("traffic_weight", sa.Double, nullable=False, server_default="0.5"),
        sa.Column("impressions", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("conversions", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("conversion_rate", sa.Double, nullable=False, server_default="0"),
        sa.Column("total_value", sa.Double, nullable=False, server_default="0"),
        sa.Column("confidence_interval_lower", sa.Double),
        sa.Column("confidence_interval_upper", sa.Double),
        sa.Column("is_control", sa.Boolean, nullable=False, server_default=sa.false()),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_ab_variants"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["ab_experiments.id"],
            name="fk_ab_variants_experiment_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "experiment_id", "variant_name", name="uq_ab_variants_experiment_id_variant_name"
        ),
        sa.CheckConstraint(
            "traffic_weight >= 0 AND traffic_weight <= 1",
            name=op.f("ck_ab_variants_traffic_weight"),
        ),
        sa.CheckConstraint(
            "conversion_rate >= 0 AND conversion_rate <= 1",
            name=op.f("ck_ab_variants_conversion_rate"),
        ),
    )
    op.create_index("idx_variant_experiment", "ab_variants", ["experiment_id"])
    op.create_index("idx_variant_name", "ab_variants", ["variant_name"])


def _create_assignments() -> None:
    op.create_table(
        "ab_assignments",
        _key(),
        sa.Column("experiment_id", pg.UUID(), nullable=False),
        sa.Column("variant_id", pg.UUID(), nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        _now("assigned_at"),
        sa.Column("bucket_value", sa.Double, nullable=False),
        sa.Column("has_converted", sa.Boolean, nullable=False, server_default=sa.false()),
        _moment("converted_at"),
        _json("metadata"),
        sa.PrimaryKeyConstraint("id", name="pk_ab_assignments"),
        _reference("ab_assignments", "experiment_id", "ab_experiments"),
        _reference("ab_assignments", "variant_id", "ab_variants"),
        sa.UniqueConstraint(
            "experiment_id", "user_id", name="uq_ab_assignments_experiment_id_user_id"
        ),
    )
    op.create_index("idx_assignment_experiment", "ab_assignments", ["experiment_id"])
    op.create_index("idx_assignment_user", "ab_assignments", ["user_id"])
    op.create_index("idx_assignment_converted", "ab_assignments", ["has_converted"])


def _create_metrics() -> None:
    op.create_table(
        "ab_metrics",
        _key(),
        sa.Column("experiment_id", pg.UUID(), nullable=False),
        sa.Column("variant_id", pg.UUID(), nullable=False),
        sa.Column("assignment_id", pg.UUID(), nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("event_value", sa.Double),
        _json("event_data"),
        _now("event_timestamp"),
        sa.Column("source", sa.Text),
        _json("session_context"),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_ab_metrics"),
        _reference("ab_metrics", "experiment_id", "ab_experiments"),
        _reference("ab_metrics", "variant_id", "ab_variants"),
        _reference("ab_metrics", "assignment_id", "ab_assignments"),
    )
    op.create_index("idx_metric_experiment", "ab_metrics", ["experiment_id"])
    op.create_index("idx_metric_variant", "ab_metrics", ["variant_id"])
    op.create_index("idx_metric_event_type", "ab_metrics", ["event_type"])
    op.create_index("idx_metric_timestamp", "ab_metrics", ["event_timestamp"])


def _key() -> sa.Column[Any]:
    return sa.Column("id", pg.UUID(), nullable=False, server_default=sa.func.gen_random_uuid())


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True))


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, pg.JSONB, nullable=False, server_default="{}")


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")
