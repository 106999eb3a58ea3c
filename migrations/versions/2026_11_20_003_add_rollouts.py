"""Add rollouts: stages, health samples and checks, the audit, and what applications ask.

Phase: expand   Locks: SHARE ROW EXCLUSIVE on ab_experiments (a new foreign key), no rewrite
Reverse: drops the functions, the tables with their rows, then the enum types
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "003"
down_revision: str | None = "002"
branch_labels: str | None = None
depends_on: str | None = None

STATE = pg.ENUM(
    "running",
    "paused",
    "manual_hold",
    "completed",
    "partial",
    "rolled_back",
    name="rollout_state",
    create_type=False,
)
VERDICT = pg.ENUM("healthy", "unhealthy", "inconclusive", name="health_verdict", create_type=False)

# The same number as tasks/bucketing.py: the first 32 bits of the md5, divided by 2³².
CREATE_BUCKET = """
CREATE FUNCTION bucket(salt text, unit text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CAST(CAST(CAST(
    'x' || left(md5(convert_to(salt || ':' || unit, 'UTF8')), 8) AS bit(32)) AS bigint)
    AS double precision) / 4294967296
"""

# The newest rollout of the version answers in any state: rolled back is 0 %, completed 100 %.
CREATE_SHOULD_USE_NEW_MODEL = """
CREATE FUNCTION should_use_new_model(user_id text, model_version text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((
    SELECT bucket(newest.salt, should_use_new_model.user_id) * 100 < newest.percentage
    FROM rollout AS newest
    WHERE newest.model_version = should_use_new_model.model_version
    ORDER BY newest.id DESC
    LIMIT 1), false)
"""

# Databases without the ledger have no clock of their own; there it is now().
CREATE_RECORD_HEALTH_SAMPLE = """
CREATE FUNCTION record_health_sample(
    model_version text,
    metric text,
    value_sum double precision,
    sample_count bigint DEFAULT NULL,
    observed_at timestamptz DEFAULT NULL,
    source text DEFAULT 'application'
) RETURNS bigint
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    moment timestamptz := observed_at;
    sample_id bigint;
BEGIN
    IF moment IS NULL AND to_regprocedure('headway.clock_now()') IS NOT NULL THEN
        moment := headway.clock_now();
    END IF;
    INSERT INTO health_sample
        (model_version, metric, value_sum, sample_count, observed_at, source)
    VALUES
        (model_version, metric, value_sum, sample_count, coalesce(moment, now()), source)
    RETURNING id INTO sample_id;
    RETURN sample_id;
END $$
"""

CREATE_REFUSAL = """
CREATE FUNCTION refuse_rollout_change_edit() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% on rollout_change is refused: the audit is append-only', TG_OP;
END $$
"""

CREATE_TRIGGER = """
CREATE TRIGGER rollout_change_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON rollout_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rollout_change_edit()
"""


def upgrade() -> None:
    STATE.create(op.get_bind(), checkfirst=False)
    VERDICT.create(op.get_bind(), checkfirst=False)
    _create_rollout()
    _create_stage()
    _create_check()
    _create_change()
    _create_sample()
    op.execute(CREATE_BUCKET)
    op.execute(CREATE_SHOULD_USE_NEW_MODEL)
    op.execute(CREATE_RECORD_HEALTH_SAMPLE)


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION record_health_sample("
        "text, text, double precision, bigint, timestamptz, text)"
    )
    op.execute("DROP FUNCTION should_use_new_model(text, text)")
    op.execute("DROP FUNCTION bucket(text, text)")
    for table in ("health_sample", "rollout_change", "health_check", "rollout_stage", "rollout"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_rollout_change_edit()")
    VERDICT.drop(op.get_bind(), checkfirst=False)
    STATE.drop(op.get_bind(), checkfirst=False)


def _create_rollout() -> None:
    op.create_table(
        "rollout",
        _key(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("experiment_id", pg.UUID()),
        sa.Column("variant", sa.Text),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("is_salt_inherited", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("hash_version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("percentage", sa.Double, nullable=False, server_default="0"),
        sa.Column("state", STATE, nullable=False, server_default="running"),
        sa.Column("stage_index", sa.Integer, nullable=False, server_default="0"),
        _moment("stage_entered_at", is_now=True),
        _moment("paused_at"),
        sa.Column("paused_seconds", sa.Double, nullable=False, server_default="0"),
        _moment("inconclusive_since"),
        sa.Column("is_hold_escalated", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("source_error_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("policy", pg.JSONB, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        _moment("created_at", is_now=True),
        _moment("finished_at"),
        sa.PrimaryKeyConstraint("id", name="pk_rollout"),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name="fk_rollout_experiment_id"
        ),
        sa.UniqueConstraint("name", name="uq_rollout_name"),
        _check("rollout", "names", "name <> '' AND model_version <> ''"),
        _check("rollout", "percentage", "percentage >= 0 AND percentage <= 100"),
        _check("rollout", "rolled_back_is_zero", "state <> 'rolled_back' OR percentage = 0"),
        _check("rollout", "completed_is_all", "state <> 'completed' OR percentage = 100"),
        _check("rollout", "paused_at", "(state = 'paused') = (paused_at IS NOT NULL)"),
        _check(
            "rollout",
            "finished_at",
            "(state IN ('completed', 'partial', 'rolled_back')) = (finished_at IS NOT NULL)",
        ),
        _check("rollout", "salt_purpose", "salt LIKE 'rollout:%'"),
        _check("rollout", "hash_version", "hash_version = 1"),
        _check("rollout", "stage_index", "stage_index >= -1"),
    )
    op.create_index(
        "idx_rollout_one_active",
        "rollout",
        ["model_version"],
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'paused', 'manual_hold')"),
    )
    op.create_index("idx_rollout_model_version", "rollout", ["model_version", "id"])
    op.create_index("idx_rollout_experiment", "rollout", ["experiment_id"])


def _create_stage() -> None:
    op.create_table(
        "rollout_stage",
        sa.Column("rollout_id", sa.BigInteger, nullable=False),
        sa.Column("stage_index", sa.Integer, nullable=False),
        sa.Column("percentage", sa.Double, nullable=False),
        sa.Column("duration_seconds", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "stage_index", name="pk_rollout_stage"),
        _of_rollout("rollout_stage"),
        _check("rollout_stage", "percentage", "percentage > 0 AND percentage <= 100"),
        _check("rollout_stage", "duration_seconds", "duration_seconds >= 0"),
        _check("rollout_stage", "stage_index", "stage_index >= 0"),
    )


def _create_check() -> None:
    op.create_table(
        "health_check",
        _key(),
        sa.Column("rollout_id", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("verdict", VERDICT, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_health_check"),
        _of_rollout("health_check"),
        sa.UniqueConstraint(
            "rollout_id", "slot", "metric", name="uq_health_check_rollout_id_slot_metric"
        ),
        _check("health_check", "operator", "operator IN ('<', '>')"),
        _check("health_check", "window", "window_start <= window_end"),
    )


def _create_change() -> None:
    op.create_table(
        "rollout_change",
        _key(),
        sa.Column("rollout_id", sa.BigInteger, nullable=False),
        sa.Column("old_percentage", sa.Double, nullable=False),
        sa.Column("new_percentage", sa.Double, nullable=False),
        sa.Column("old_state", STATE),
        sa.Column("new_state", STATE, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("slot", sa.Text),
        sa.Column("decision_id", sa.BigInteger),
        sa.Column("health_check_id", sa.BigInteger),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_change"),
        _of_rollout("rollout_change"),
        sa.ForeignKeyConstraint(
            ["health_check_id"], ["health_check.id"], name="fk_rollout_change_health_check_id"
        ),
        _check(
            "rollout_change",
            "cause",
            "cause IN ('start', 'advance', 'complete', 'rollback', 'manual_rollback', "
            "'manual_set', 'pause', 'resume', 'noop')",
        ),
        _check("rollout_change", "new_percentage", "new_percentage >= 0 AND new_percentage <= 100"),
    )
    op.create_index("idx_rollout_change_rollout", "rollout_change", ["rollout_id", "id"])
    op.create_index("idx_rollout_change_health_check", "rollout_change", ["health_check_id"])
    op.execute(CREATE_REFUSAL)
    op.execute(CREATE_TRIGGER)


def _create_sample() -> None:
    op.create_table(
        "health_sample",
        _key(),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("value_sum", sa.Double, nullable=False),
        sa.Column("sample_count", sa.BigInteger),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        _moment("recorded_at", is_now=True),
        sa.PrimaryKeyConstraint("id", name="pk_health_sample"),
        _check("health_sample", "names", "model_version <> '' AND metric <> '' AND source <> ''"),
        _check("health_sample", "sample_count", "sample_count >= 0"),
    )
    op.create_index(
        "idx_health_sample_lookup", "health_sample", ["model_version", "metric", "observed_at"]
    )


def _key() -> sa.Column[Any]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False)


def _moment(name: str, *, is_now: bool = False) -> sa.Column[Any]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not is_now,
        server_default=sa.func.now() if is_now else None,
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _of_rollout(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"], name=f"fk_{table}_rollout_id")
