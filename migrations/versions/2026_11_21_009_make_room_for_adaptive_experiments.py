"""Make room for adaptive experiments: bandits, factors, layers, holdouts and calibrations.

The empty user gets no new version, as over HTTP.

Phase: expand
Locks: experiment_plan ACCESS EXCLUSIVE for new columns (metadata only, no rewrite)
Reverse: drops the tables and columns with what they hold; the splits that bandits opened, and the
    arms of factorial designs, stay as splits and arms. A holdout is an ordinary experiment then
"""

from __future__ import annotations

from alembic import op

revision = "009"
down_revision: str | None = "008"
branch_labels: str | None = None
depends_on: str | None = None

OWNER, WRITER, READER = "headway_owner", "headway_writer", "headway_reader"

TABLES = ("layer", "layer_slot", "variant_level", "calibration")

CREATE = (
    """
    ALTER TABLE experiment_plan
        ADD bandit JSONB,
        ADD factors JSONB,
        ADD generators TEXT[] DEFAULT '{}' NOT NULL,
        ADD is_holdout BOOLEAN DEFAULT false NOT NULL,
        ADD segment_of TEXT
    """,
    """
    CREATE TABLE layer (
        name TEXT NOT NULL,
        description TEXT,
        created_by TEXT,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_layer PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE layer_slot (
        experiment_id UUID NOT NULL,
        layer TEXT NOT NULL,
        lower_bound DOUBLE PRECISION NOT NULL,
        upper_bound DOUBLE PRECISION NOT NULL,
        CONSTRAINT pk_layer_slot PRIMARY KEY (experiment_id),
        CONSTRAINT fk_layer_slot_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE,
        CONSTRAINT fk_layer_slot_layer FOREIGN KEY (layer) REFERENCES layer (name),
        CONSTRAINT ck_layer_slot_bounds
            CHECK (lower_bound >= 0 AND lower_bound < upper_bound AND upper_bound <= 1)
    )
    """,
    "CREATE INDEX idx_layer_slot_layer ON layer_slot (layer, lower_bound)",
    """
    CREATE TABLE variant_level (
        variant_id UUID NOT NULL,
        factor TEXT NOT NULL,
        level TEXT NOT NULL,
        CONSTRAINT pk_variant_level PRIMARY KEY (variant_id, factor),
        CONSTRAINT fk_variant_level_variant_id
            FOREIGN KEY (variant_id) REFERENCES ab_variants (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE calibration (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        metric_id UUID NOT NULL,
        experiment_id UUID,
        calibrated_at timestamptz DEFAULT now() NOT NULL,
        method TEXT NOT NULL,
        alpha DOUBLE PRECISION NOT NULL,
        units BIGINT NOT NULL,
        draws INTEGER NOT NULL,
        seed BIGINT NOT NULL,
        false_positive_rate DOUBLE PRECISION,
        coverage DOUBLE PRECISION,
        srm_alarm_rate DOUBLE PRECISION,
        verdict TEXT NOT NULL,
        details JSONB DEFAULT '{}' NOT NULL,
        CONSTRAINT pk_calibration PRIMARY KEY (id),
        CONSTRAINT fk_calibration_metric_id
            FOREIGN KEY (metric_id) REFERENCES metric (id) ON DELETE CASCADE,
        CONSTRAINT fk_calibration_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id) ON DELETE CASCADE,
        CONSTRAINT ck_calibration_verdict CHECK (verdict IN ('kept', 'broken', 'unknown'))
    )
    """,
    "CREATE INDEX idx_calibration_newest ON calibration (metric_id, calibrated_at)",
    "CREATE INDEX idx_calibration_experiment ON calibration (experiment_id)",
)
GRANTS = (
    (READER, "SELECT", TABLES),
    (WRITER, "SELECT, INSERT, UPDATE, DELETE", ("layer", "layer_slot", "variant_level")),
    (WRITER, "SELECT, INSERT", ("calibration",)),
)

ASSIGN_VARIANT = """
CREATE OR REPLACE FUNCTION public.assign_variant(
    experiment text,
    unit text,
    session text DEFAULT NULL,
    attributes jsonb DEFAULT '{}',
    metadata jsonb DEFAULT '{}'
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    planned record;
    chosen record;
    holdout record;
    place double precision := public.bucket('experiment:' || experiment, unit);
    assignment_id uuid;
BEGIN
    IF unit IS NULL OR length(unit) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'a unit is text of 1 to 255 characters, not %',
            quote_nullable(left(unit, 40))
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(metadata) <> 'object' THEN
        RAISE EXCEPTION 'metadata is a JSON object, not %', left(CAST(metadata AS text), 40)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT e.id, e.status, coalesce(e.started_at, e.created_at) AS started_at, e.created_by,
           coalesce(p.traffic_fraction, 1) AS fraction, coalesce(p.target_rules, '[]') AS rules,
           coalesce(p.is_holdout, false) AS is_holdout, p.organization,
           l.layer, l.lower_bound, l.upper_bound,
           forced.id AS forced_id, forced.variant_name AS forced_name, given.variant_name AS given
    INTO planned
    FROM public.ab_experiments AS e
    LEFT JOIN public.experiment_plan AS p ON p.experiment_id = e.id
    LEFT JOIN public.layer_slot AS l ON l.experiment_id = e.id
    LEFT JOIN public.assignment_override AS o ON o.experiment_id = e.id AND o.user_id = unit
    LEFT JOIN public.ab_variants AS forced ON forced.id = o.variant_id
    LEFT JOIN public.ab_assignments AS a ON a.experiment_id = e.id AND a.user_id = unit
    LEFT JOIN public.ab_variants AS given ON given.id = a.variant_id
    WHERE e.experiment_name = experiment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no experiment %', quote_literal(experiment)
            USING ERRCODE = 'no_data_found';
    END IF;
    IF planned.given IS NOT NULL OR planned.status <> 'active' THEN
        RETURN coalesce(planned.forced_name, planned.given);
    END IF;
    IF planned.forced_id IS NULL AND (
        public.bucket('traffic:' || experiment, unit) >= planned.fraction
        OR NOT public.matches_target(planned.rules, coalesce(attributes, '{}'))
    ) THEN
        RETURN NULL;
    END IF;
    -- Experiments of a layer share no unit: each has its own part of the layer's buckets.
    IF planned.forced_id IS NULL AND planned.layer IS NOT NULL AND NOT (
        public.bucket('layer:' || planned.layer, unit) >= planned.lower_bound
        AND public.bucket('layer:' || planned.layer, unit) < planned.upper_bound
    ) THEN
        RETURN NULL;
    END IF;
    -- Who would take part is asked by the holdouts first; who is held out takes part in nothing.
    FOR holdout IN
        SELECT h.experiment_name AS name, v.variant_name AS held_out
        FROM public.experiment_plan AS p
        JOIN public.ab_experiments AS h ON h.id = p.experiment_id
        JOIN public.ab_variants AS v ON v.experiment_id = h.id AND v.is_control
        WHERE p.is_holdout AND NOT planned.is_holdout AND planned.forced_id IS NULL
          AND h.status IN ('active', 'paused')
          AND (p.organization IS NULL OR p.organization = planned.organization)
        ORDER BY h.experiment_name COLLATE "C"
    LOOP
        IF public.assign_variant(holdout.name, unit, session, attributes, metadata)
            = holdout.held_out
        THEN
            RETURN NULL;
        END IF;
    END LOOP;
    PERFORM FROM public.allocation_range AS r WHERE r.experiment_id = planned.id;
    IF NOT FOUND THEN
        PERFORM public.open_first_allocation(
            planned.id, planned.started_at, planned.created_by, 'the first split');
    END IF;
    SELECT r.epoch, r.variant_id INTO chosen
    FROM public.allocation_range AS r
    WHERE r.experiment_id = planned.id AND r.lower_bound <= place
    ORDER BY r.epoch DESC, r.lower_bound DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'experiment % has no arm with traffic', quote_literal(experiment);
    END IF;
    INSERT INTO public.ab_assignments
        (experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata,
         epoch, is_override)
    VALUES (planned.id, coalesce(planned.forced_id, chosen.variant_id), unit, session,
            headway.clock_now(), place, coalesce(metadata, '{}'), chosen.epoch,
            planned.forced_id IS NOT NULL)
    ON CONFLICT DO NOTHING RETURNING id INTO assignment_id;
    IF FOUND THEN
        INSERT INTO public.touched_unit (experiment_id, assignment_id)
        VALUES (planned.id, assignment_id);
        -- An override may have come since this call looked for one; it locks the experiment, so
        -- either it sees this row or this sees it.
        UPDATE public.ab_assignments AS a SET is_override = true
        WHERE a.id = assignment_id AND NOT a.is_override AND EXISTS (
            SELECT FROM public.assignment_override AS o
            WHERE o.experiment_id = planned.id AND o.user_id = unit);
    END IF;
    RETURN coalesce(planned.forced_name, (
        SELECT v.variant_name
        FROM public.ab_assignments AS a JOIN public.ab_variants AS v ON v.id = a.variant_id
        WHERE a.experiment_id = planned.id AND a.user_id = unit));
END $$
"""

# As revision 006 made it.
ASSIGN_VARIANT_BEFORE = """
CREATE OR REPLACE FUNCTION public.assign_variant(
    experiment text,
    unit text,
    session text DEFAULT NULL,
    attributes jsonb DEFAULT '{}',
    metadata jsonb DEFAULT '{}'
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    planned record;
    chosen record;
    place double precision := public.bucket('experiment:' || experiment, unit);
    assignment_id uuid;
BEGIN
    IF unit IS NULL OR length(unit) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'a unit is text of 1 to 255 characters, not %',
            quote_nullable(left(unit, 40))
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(metadata) <> 'object' THEN
        RAISE EXCEPTION 'metadata is a JSON object, not %', left(CAST(metadata AS text), 40)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT e.id, e.status, coalesce(e.started_at, e.created_at) AS started_at, e.created_by,
           coalesce(p.traffic_fraction, 1) AS fraction, coalesce(p.target_rules, '[]') AS rules,
           forced.id AS forced_id, forced.variant_name AS forced_name, given.variant_name AS given
    INTO planned
    FROM public.ab_experiments AS e
    LEFT JOIN public.experiment_plan AS p ON p.experiment_id = e.id
    LEFT JOIN public.assignment_override AS o ON o.experiment_id = e.id AND o.user_id = unit
    LEFT JOIN public.ab_variants AS forced ON forced.id = o.variant_id
    LEFT JOIN public.ab_assignments AS a ON a.experiment_id = e.id AND a.user_id = unit
    LEFT JOIN public.ab_variants AS given ON given.id = a.variant_id
    WHERE e.experiment_name = experiment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no experiment %', quote_literal(experiment)
            USING ERRCODE = 'no_data_found';
    END IF;
    IF planned.given IS NOT NULL OR planned.status <> 'active' THEN
        RETURN coalesce(planned.forced_name, planned.given);
    END IF;
    IF planned.forced_id IS NULL AND (
        public.bucket('traffic:' || experiment, unit) >= planned.fraction
        OR NOT public.matches_target(planned.rules, coalesce(attributes, '{}'))
    ) THEN
        RETURN NULL;
    END IF;
    PERFORM FROM public.allocation_range AS r WHERE r.experiment_id = planned.id;
    IF NOT FOUND THEN
        PERFORM public.open_first_allocation(
            planned.id, planned.started_at, planned.created_by, 'the first split');
    END IF;
    SELECT r.epoch, r.variant_id INTO chosen
    FROM public.allocation_range AS r
    WHERE r.experiment_id = planned.id AND r.lower_bound <= place
    ORDER BY r.epoch DESC, r.lower_bound DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'experiment % has no arm with traffic', quote_literal(experiment);
    END IF;
    INSERT INTO public.ab_assignments
        (experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata,
         epoch, is_override)
    VALUES (planned.id, coalesce(planned.forced_id, chosen.variant_id), unit, session,
            headway.clock_now(), place, coalesce(metadata, '{}'), chosen.epoch,
            planned.forced_id IS NOT NULL)
    ON CONFLICT DO NOTHING RETURNING id INTO assignment_id;
    IF FOUND THEN
        INSERT INTO public.touched_unit (experiment_id, assignment_id)
        VALUES (planned.id, assignment_id);
        -- An override may have come since this call looked for one; it locks the experiment, so
        -- either it sees this row or this sees it.
        UPDATE public.ab_assignments AS a SET is_override = true
        WHERE a.id = assignment_id AND NOT a.is_override AND EXISTS (
            SELECT FROM public.assignment_override AS o
            WHERE o.experiment_id = planned.id AND o.user_id = unit);
    END IF;
    RETURN coalesce(planned.forced_name, (
        SELECT v.variant_name
        FROM public.ab_assignments AS a JOIN public.ab_variants AS v ON v.id = a.variant_id
        WHERE a.experiment_id = planned.id AND a.user_id = unit));
END $$
"""


# Whether a user gets the new version; the empty user is nobody, as over HTTP.
USE_NEW_MODEL = """
    CREATE OR REPLACE FUNCTION public.should_use_new_model(user_id text, model_version text)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT COALESCE((
            SELECT public.bucket(e.salt, should_use_new_model.user_id) * 100 < e.percentage
            FROM public.rollout_exposure(should_use_new_model.model_version) e
            WHERE should_use_new_model.user_id <> ''
        ), false)
    $$
"""
USE_NEW_MODEL_OF_MANY = """
    CREATE OR REPLACE FUNCTION public.should_use_new_model(user_ids text[], model_version text)
    RETURNS TABLE (user_id text, should_use boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT asked, COALESCE(asked <> ''
            AND public.bucket(e.salt, asked) * 100 < e.percentage, false)
        FROM unnest(should_use_new_model.user_ids) asked
        LEFT JOIN public.rollout_exposure(should_use_new_model.model_version) e ON true
    $$
"""
# As revision 008 made them: any text is a user.
USE_NEW_MODEL_BEFORE = USE_NEW_MODEL.replace(
    "            WHERE should_use_new_model.user_id <> ''\n", ""
)
USE_NEW_MODEL_OF_MANY_BEFORE = USE_NEW_MODEL_OF_MANY.replace("asked <> ''\n            AND ", "")


def upgrade() -> None:
    for statement in CREATE:
        op.execute(statement)
    for role, privileges, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {', '.join(tables)} TO {role}")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    for function in (ASSIGN_VARIANT, USE_NEW_MODEL, USE_NEW_MODEL_OF_MANY):
        op.execute(function)


def downgrade() -> None:
    for function in (USE_NEW_MODEL_OF_MANY_BEFORE, USE_NEW_MODEL_BEFORE, ASSIGN_VARIANT_BEFORE):
        op.execute(function)
    for role, privileges, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {', '.join(tables)} FROM {role}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute(
        """
        ALTER TABLE experiment_plan
            DROP segment_of, DROP is_holdout, DROP generators, DROP factors, DROP bandit
        """
    )
