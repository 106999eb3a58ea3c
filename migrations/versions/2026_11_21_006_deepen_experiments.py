"""Deepen experiments: plans, allocations, ingestion, sufficient statistics, notifications.

Phase: expand
Locks: ab_variants, ab_assignments, metric, experiment_metric and ingest_batch ACCESS EXCLUSIVE for
    new columns (metadata only, no rewrite); ab_metrics SHARE while an index is built (reads go on,
    writes wait)
Reverse: drops the tables and columns with what they hold; experiments, events and looks stay, but
    for secondary metrics, which the earlier schema cannot name
"""

from __future__ import annotations

from alembic import op

revision = "006"
down_revision: str | None = "005"
branch_labels: str | None = None
depends_on: str | None = None

OWNER, WRITER, READER = "headway_owner", "headway_writer", "headway_reader"

TABLES = (
    "experiment_plan",
    "allocation",
    "allocation_weight",
    "assignment_override",
    "waiting_event",
    "event_correction",
    "aggregate_statistic",
    "touched_unit",
    "unit_value",
    "moment_statistic",
    "fold_state",
    "notification",
)

CREATE = (
    """
    CREATE TABLE experiment_plan (
        experiment_id UUID NOT NULL,
        method TEXT DEFAULT 'group_sequential' NOT NULL,
        method_options JSONB DEFAULT '{}' NOT NULL,
        policy TEXT DEFAULT 'select' NOT NULL,
        power DOUBLE PRECISION DEFAULT '0.8' NOT NULL,
        minimum_effect DOUBLE PRECISION,
        minimum_weeks INTEGER DEFAULT '0' NOT NULL,
        reserved_alpha DOUBLE PRECISION DEFAULT '0' NOT NULL,
        tie_break_metric TEXT,
        organization TEXT,
        traffic_fraction DOUBLE PRECISION DEFAULT '1' NOT NULL,
        target_rules JSONB DEFAULT '[]' NOT NULL,
        dimensions TEXT[] DEFAULT '{}' NOT NULL,
        starts_at timestamptz,
        ends_at timestamptz,
        version INTEGER DEFAULT '1' NOT NULL,
        CONSTRAINT pk_experiment_plan PRIMARY KEY (experiment_id),
        CONSTRAINT ck_experiment_plan_power CHECK (power > 0 AND power < 1),
        CONSTRAINT ck_experiment_plan_minimum_effect CHECK (minimum_effect > 0),
        CONSTRAINT ck_experiment_plan_minimum_weeks CHECK (minimum_weeks >= 0),
        CONSTRAINT ck_experiment_plan_reserved_alpha
            CHECK (reserved_alpha >= 0 AND reserved_alpha < 1),
        CONSTRAINT ck_experiment_plan_traffic_fraction
            CHECK (traffic_fraction > 0 AND traffic_fraction <= 1),
        CONSTRAINT ck_experiment_plan_ends_after_start CHECK (ends_at > starts_at),
        CONSTRAINT fk_experiment_plan_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE allocation (
        experiment_id UUID NOT NULL,
        epoch INTEGER NOT NULL,
        started_at timestamptz DEFAULT now() NOT NULL,
        actor TEXT,
        reason TEXT,
        CONSTRAINT pk_allocation PRIMARY KEY (experiment_id, epoch),
        CONSTRAINT ck_allocation_epoch CHECK (epoch >= 1),
        CONSTRAINT fk_allocation_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE allocation_weight (
        experiment_id UUID NOT NULL,
        epoch INTEGER NOT NULL,
        variant_id UUID NOT NULL,
        weight DOUBLE PRECISION NOT NULL,
        CONSTRAINT pk_allocation_weight PRIMARY KEY (experiment_id, epoch, variant_id),
        CONSTRAINT fk_allocation_weight_epoch
            FOREIGN KEY (experiment_id, epoch)
            REFERENCES allocation (experiment_id, epoch) ON DELETE CASCADE,
        CONSTRAINT ck_allocation_weight_weight CHECK (weight >= 0 AND weight <= 1),
        CONSTRAINT fk_allocation_weight_variant_id
            FOREIGN KEY (variant_id) REFERENCES ab_variants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_allocation_weight_variant ON allocation_weight (variant_id)",
    """
    CREATE TABLE assignment_override (
        experiment_id UUID NOT NULL,
        user_id TEXT NOT NULL,
        variant_id UUID NOT NULL,
        actor TEXT,
        reason TEXT,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_assignment_override PRIMARY KEY (experiment_id, user_id),
        CONSTRAINT fk_assignment_override_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE,
        CONSTRAINT fk_assignment_override_variant_id
            FOREIGN KEY (variant_id) REFERENCES ab_variants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_assignment_override_variant ON assignment_override (variant_id)",
    """
    CREATE TABLE waiting_event (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        experiment_id UUID NOT NULL,
        user_id TEXT NOT NULL,
        variant TEXT,
        event_type TEXT NOT NULL,
        event_value DOUBLE PRECISION,
        event_data JSONB DEFAULT '{}' NOT NULL,
        event_timestamp timestamptz NOT NULL,
        event_id TEXT NOT NULL,
        source TEXT,
        session_context JSONB DEFAULT '{}' NOT NULL,
        received_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_waiting_event PRIMARY KEY (id),
        CONSTRAINT uq_waiting_event_id UNIQUE (experiment_id, event_id),
        CONSTRAINT fk_waiting_event_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_waiting_event_user ON waiting_event (experiment_id, user_id)",
    """
    CREATE TABLE event_correction (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        experiment_id UUID NOT NULL,
        event_id TEXT NOT NULL,
        previous JSONB NOT NULL,
        corrected_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_event_correction PRIMARY KEY (id),
        CONSTRAINT fk_event_correction_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_event_correction_event ON event_correction (experiment_id, event_id)",
    """
    CREATE TABLE aggregate_statistic (
        experiment_id UUID NOT NULL,
        metric_id UUID NOT NULL,
        variant_id UUID NOT NULL,
        observed_at timestamptz NOT NULL,
        assigned BIGINT NOT NULL,
        n BIGINT NOT NULL,
        mean DOUBLE PRECISION NOT NULL,
        m2 DOUBLE PRECISION NOT NULL,
        source TEXT NOT NULL,
        loaded_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_aggregate_statistic
            PRIMARY KEY (experiment_id, metric_id, variant_id, observed_at),
        CONSTRAINT ck_aggregate_statistic_moments CHECK (assigned >= n AND n >= 0 AND m2 >= 0),
        CONSTRAINT fk_aggregate_statistic_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE,
        CONSTRAINT fk_aggregate_statistic_metric_id FOREIGN KEY (metric_id) REFERENCES metric (id),
        CONSTRAINT fk_aggregate_statistic_variant_id
            FOREIGN KEY (variant_id) REFERENCES ab_variants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_aggregate_statistic_metric ON aggregate_statistic (metric_id)",
    "CREATE INDEX idx_aggregate_statistic_variant ON aggregate_statistic (variant_id)",
    """
    CREATE TABLE touched_unit (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        experiment_id UUID NOT NULL,
        assignment_id UUID NOT NULL,
        CONSTRAINT pk_touched_unit PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX idx_touched_unit_experiment ON touched_unit (experiment_id)",
    """
    CREATE TABLE unit_value (
        experiment_id UUID NOT NULL,
        metric_id UUID NOT NULL,
        assignment_id UUID NOT NULL,
        variant_id UUID NOT NULL,
        value DOUBLE PRECISION,
        denominator DOUBLE PRECISION,
        covariate DOUBLE PRECISION,
        events BIGINT DEFAULT '0' NOT NULL,
        levels JSONB,
        CONSTRAINT pk_unit_value PRIMARY KEY (experiment_id, metric_id, assignment_id)
    )
    """,
    """
    CREATE TABLE moment_statistic (
        experiment_id UUID NOT NULL,
        metric_id UUID NOT NULL,
        variant_id UUID NOT NULL,
        dimension TEXT DEFAULT '' NOT NULL,
        level TEXT DEFAULT '' NOT NULL,
        assigned BIGINT NOT NULL,
        events BIGINT NOT NULL,
        converted BIGINT NOT NULL,
        n BIGINT NOT NULL,
        mean DOUBLE PRECISION NOT NULL,
        m2 DOUBLE PRECISION NOT NULL,
        denominator_mean DOUBLE PRECISION DEFAULT '0' NOT NULL,
        denominator_m2 DOUBLE PRECISION DEFAULT '0' NOT NULL,
        denominator_c2 DOUBLE PRECISION DEFAULT '0' NOT NULL,
        covariate_mean DOUBLE PRECISION DEFAULT '0' NOT NULL,
        covariate_m2 DOUBLE PRECISION DEFAULT '0' NOT NULL,
        covariate_c2 DOUBLE PRECISION DEFAULT '0' NOT NULL,
        CONSTRAINT pk_moment_statistic
            PRIMARY KEY (experiment_id, metric_id, variant_id, dimension, level),
        CONSTRAINT ck_moment_statistic_counts CHECK (n >= 0 AND assigned >= n)
    )
    """,
    """
    CREATE TABLE fold_state (
        experiment_id UUID NOT NULL,
        metric_id UUID NOT NULL,
        folded_at timestamptz NOT NULL,
        matured_until timestamptz,
        cap DOUBLE PRECISION,
        cap_frozen_on DATE,
        recomputed_at timestamptz,
        recomputed_gap DOUBLE PRECISION,
        CONSTRAINT pk_fold_state PRIMARY KEY (experiment_id, metric_id)
    )
    """,
    """
    CREATE TABLE notification (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        dedupe_key TEXT NOT NULL,
        channel TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        payload JSONB NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        sent_at timestamptz,
        attempts INTEGER DEFAULT '0' NOT NULL,
        last_error TEXT,
        CONSTRAINT pk_notification PRIMARY KEY (id),
        CONSTRAINT uq_notification_once UNIQUE (channel, dedupe_key)
    )
    """,
    "CREATE INDEX idx_notification_unsent ON notification (id) WHERE sent_at IS NULL",
)

ADD_COLUMNS = (
    "ALTER TYPE metric_role ADD VALUE 'secondary'",
    """
    ALTER TABLE metric
        ADD window_start_hours double precision NOT NULL DEFAULT 0,
        ADD window_hours double precision,
        ADD cap_quantile double precision,
        ADD covariate_days integer,
        ADD covariate_attribute text,
        ADD quantile double precision,
        ADD denominator_event_type text,
        ADD denominator_aggregation metric_aggregation,
        ADD CONSTRAINT ck_metric_window
            CHECK (window_start_hours >= 0 AND window_hours > window_start_hours),
        ADD CONSTRAINT ck_metric_cap_quantile CHECK (cap_quantile > 0.5 AND cap_quantile < 1),
        ADD CONSTRAINT ck_metric_quantile CHECK (quantile > 0 AND quantile < 1),
        ADD CONSTRAINT ck_metric_covariate_days CHECK (covariate_days > 0)
    """,
    """
    ALTER TABLE experiment_metric
        ADD margin double precision,
        ADD CONSTRAINT ck_experiment_metric_margin CHECK (margin >= 0)
    """,
    "ALTER TABLE ab_variants ADD model_version text",
    """
    ALTER TABLE ab_assignments
        ADD epoch integer,
        ADD is_override boolean NOT NULL DEFAULT false
    """,
    """
    ALTER TABLE ingest_batch
        ADD corrected_count bigint NOT NULL DEFAULT 0,
        ADD waiting_count bigint NOT NULL DEFAULT 0
    """,
)

# Experiments that are there already: their plan, and the split that has held since they started.
KEEP_EXPERIMENTS = (
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    """
    INSERT INTO allocation (experiment_id, epoch, started_at, actor, reason)
    SELECT id, 1, COALESCE(started_at, created_at), created_by, 'the first split'
    FROM ab_experiments WHERE status <> 'draft'
    """,
    """
    INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
    SELECT v.experiment_id, 1, v.id, v.traffic_weight
    FROM ab_variants v JOIN allocation a ON a.experiment_id = v.experiment_id
    """,
)

DROP_COLUMNS = (
    "ALTER TABLE ingest_batch DROP waiting_count, DROP corrected_count",
    "ALTER TABLE ab_assignments DROP is_override, DROP epoch",
    "ALTER TABLE ab_variants DROP model_version",
    "ALTER TABLE experiment_metric DROP margin",
    """
    ALTER TABLE metric DROP denominator_aggregation, DROP denominator_event_type, DROP quantile,
        DROP covariate_attribute, DROP covariate_days, DROP cap_quantile, DROP window_hours,
        DROP window_start_hours
    """,
)

# A value cannot be taken out of an enum, so the enum is made anew.
DROP_SECONDARY = (
    "DROP INDEX idx_experiment_metric_primary",
    "ALTER TABLE experiment_metric ALTER role DROP DEFAULT",
    "ALTER TYPE metric_role RENAME TO metric_role_006",
    "CREATE TYPE metric_role AS ENUM ('primary', 'guardrail')",
    """
    ALTER TABLE experiment_metric
        ALTER role TYPE metric_role USING role::text::metric_role,
        ALTER role SET DEFAULT 'primary'
    """,
    "DROP TYPE metric_role_006",
    """
    CREATE UNIQUE INDEX idx_experiment_metric_primary ON experiment_metric (experiment_id)
        WHERE role = 'primary'
    """,
)

# Events may be corrected, and what they said before stays.
KEEP_CORRECTIONS = (
    """
    CREATE FUNCTION public.keep_event_correction() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        INSERT INTO public.event_correction (experiment_id, event_id, previous, corrected_at)
        VALUES (OLD.experiment_id, COALESCE(OLD.event_id, OLD.id::text), to_jsonb(OLD),
                headway.clock_now());
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER keep_event_correction BEFORE UPDATE ON ab_metrics
    FOR EACH ROW EXECUTE FUNCTION public.keep_event_correction()
    """,
)
CORRECTED = "event_type, event_value, event_data, event_timestamp, source, session_context"

# What an allocation was, and what an event said before, is evidence.
EVIDENCE = ("allocation", "allocation_weight", "event_correction")

GRANTS = (
    (WRITER, "SELECT, INSERT", EVIDENCE[:2]),
    (WRITER, "SELECT", EVIDENCE[2:]),
    (
        WRITER,
        "SELECT, INSERT, UPDATE, DELETE",
        tuple(table for table in TABLES if table not in EVIDENCE),
    ),
    (WRITER, "UPDATE, DELETE", ("metric", "experiment_metric")),
    (WRITER, "DELETE", ("ab_experiments", "ab_variants")),
    (WRITER, f"UPDATE ({CORRECTED})", ("ab_metrics",)),
    (READER, "SELECT", TABLES),
)


# When the last events of a type came, without reading the others.
ADD_INDEX = "CREATE INDEX idx_metric_arrival ON ab_metrics (experiment_id, event_type, created_at)"


def upgrade() -> None:
    for statement in (*ADD_COLUMNS, *CREATE, *KEEP_EXPERIMENTS, *KEEP_CORRECTIONS):
        op.execute(statement)
    for role, privileges, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {', '.join(tables)} TO {role}")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    op.execute(f"ALTER FUNCTION public.keep_event_correction() OWNER TO {OWNER}")
    op.execute(ADD_INDEX)


def downgrade() -> None:
    op.execute("DROP INDEX idx_metric_arrival")
    for role, privileges, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {', '.join(tables)} FROM {role}")
    op.execute("DROP TRIGGER keep_event_correction ON ab_metrics")
    op.execute("DROP FUNCTION public.keep_event_correction()")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    for statement in (*DROP_COLUMNS, *DROP_SECONDARY):
        op.execute(statement)
    op.execute(f"ALTER TYPE metric_role OWNER TO {OWNER}")
