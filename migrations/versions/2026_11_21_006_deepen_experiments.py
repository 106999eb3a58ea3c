"""Deepen experiments: plans, allocations, ingestion, sufficient statistics, notifications.

Phase: expand
Locks: ab_variants, ab_assignments, metric, experiment_metric, variant_metric and ingest_batch
    ACCESS EXCLUSIVE for new columns (metadata only, no rewrite); ab_metrics SHARE while an index
    is built (reads go on, writes wait)
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
    "allocation_range",
    "assignment_override",
    "waiting_event",
    "event_correction",
    "aggregate_statistic",
    "touched_unit",
    "unit_value",
    "moment_statistic",
    "fold_state",
    "suite_check",
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
    CREATE TABLE allocation_range (
        experiment_id UUID NOT NULL,
        epoch INTEGER NOT NULL,
        lower_bound DOUBLE PRECISION NOT NULL,
        variant_id UUID NOT NULL,
        CONSTRAINT pk_allocation_range PRIMARY KEY (experiment_id, epoch, lower_bound),
        CONSTRAINT fk_allocation_range_epoch
            FOREIGN KEY (experiment_id, epoch)
            REFERENCES allocation (experiment_id, epoch) ON DELETE CASCADE,
        CONSTRAINT ck_allocation_range_lower_bound
            CHECK (lower_bound >= 0 AND lower_bound < 1),
        CONSTRAINT fk_allocation_range_variant_id
            FOREIGN KEY (variant_id) REFERENCES ab_variants (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_allocation_range_variant ON allocation_range (variant_id)",
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
        assignment_id UUID,
        assignment_ids UUID[],
        CONSTRAINT pk_touched_unit PRIMARY KEY (id),
        CONSTRAINT ck_touched_unit_one_or_many
            CHECK (num_nonnulls(assignment_id, assignment_ids) = 1)
    )
    """,
    "CREATE INDEX idx_touched_unit_experiment ON touched_unit (experiment_id)",
    """
    CREATE TABLE unit_value (
        experiment_id UUID NOT NULL,
        metric_id UUID NOT NULL,
        assignment_id UUID NOT NULL,
        variant_id UUID NOT NULL,
        epoch INTEGER NOT NULL,
        value DOUBLE PRECISION,
        denominator DOUBLE PRECISION,
        covariate DOUBLE PRECISION,
        events BIGINT DEFAULT '0' NOT NULL,
        levels JSONB,
        matures_at timestamptz,
        CONSTRAINT pk_unit_value PRIMARY KEY (experiment_id, metric_id, assignment_id)
    )
    """,
    """
    CREATE INDEX idx_unit_value_matures ON unit_value (experiment_id, metric_id, matures_at)
        WHERE matures_at IS NOT NULL
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
        definition TEXT NOT NULL,
        cap DOUBLE PRECISION,
        cap_frozen_on DATE,
        recomputed_at timestamptz,
        recomputed_gap DOUBLE PRECISION,
        CONSTRAINT pk_fold_state PRIMARY KEY (experiment_id, metric_id)
    )
    """,
    """
    CREATE TABLE suite_check (
        suite TEXT NOT NULL,
        checked_at timestamptz NOT NULL,
        fully_checked_at timestamptz NOT NULL,
        findings JSONB NOT NULL,
        CONSTRAINT pk_suite_check PRIMARY KEY (suite)
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
    "ALTER TABLE variant_metric ADD inputs_hash text",
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

# In a database in UTF-8 all text is UTF-8 already. Without convert_to, which is not immutable, the
# planner takes the function apart where it is called: six times as fast, with the same numbers.
SPEED_BUCKET_UP = """
DO $$
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        CREATE OR REPLACE FUNCTION public.bucket(salt text, unit text) RETURNS double precision
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN CAST(CAST(CAST('x' || left(md5(salt || ':' || unit), 8) AS bit(32)) AS bigint)
            AS double precision) / 4294967296;
    END IF;
END $$
"""
BUCKET_BEFORE = """
CREATE OR REPLACE FUNCTION public.bucket(salt text, unit text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CAST(CAST(CAST(
    'x' || left(md5(convert_to(salt || ':' || unit, 'UTF8')), 8) AS bit(32)) AS bigint)
    AS double precision) / 4294967296
"""

# The answer of tasks/experiments/assignment/targeting.py.
CREATE_MATCHES_TARGET = """
CREATE FUNCTION public.matches_target(rules jsonb, attributes jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    rule jsonb;
    held jsonb;
    wanted jsonb;
    kind text;
    is_alike boolean;
    sign integer;
    holds boolean;
BEGIN
    FOR place IN 0 .. jsonb_array_length(rules) - 1 LOOP
        rule := rules -> place;
        held := attributes -> (rule ->> 'attribute');
        wanted := rule -> 'value';
        kind := coalesce(jsonb_typeof(held), 'null');
        is_alike := kind = jsonb_typeof(wanted);
        sign := CASE
            WHEN is_alike AND kind = 'number'
                THEN CAST(held > wanted AS integer) - CAST(held < wanted AS integer)
            WHEN is_alike AND kind = 'string'
                THEN CAST((held #>> '{}') > (wanted #>> '{}') COLLATE "C" AS integer)
                   - CAST((held #>> '{}') < (wanted #>> '{}') COLLATE "C" AS integer)
        END;
        holds := kind <> 'null' AND CASE rule ->> 'op'
            WHEN 'eq' THEN held = wanted
            WHEN 'ne' THEN held <> wanted
            WHEN 'in' THEN kind NOT IN ('array', 'object') AND wanted @> held
            WHEN 'not_in' THEN kind IN ('array', 'object') OR NOT wanted @> held
            WHEN 'gt' THEN sign > 0
            WHEN 'ge' THEN sign >= 0
            WHEN 'lt' THEN sign < 0
            WHEN 'le' THEN sign <= 0
            WHEN 'starts_with'
                THEN is_alike AND starts_with(held #>> '{}', wanted #>> '{}')
            WHEN 'exists' THEN true
        END;
        IF holds IS NOT TRUE THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$
"""

# The ranges of tasks/experiments/assignment/ranges.py: a range starts at its bound, ends at the
# next. Bounds are whole slots of the 2^32 that a bucket can fall into.
CREATE_OPEN_FIRST_ALLOCATION = """
CREATE FUNCTION public.open_first_allocation(
    experiment_id uuid, started_at timestamptz, actor text, reason text
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    -- Two at once take turns here, and the second one finds what the first one did.
    PERFORM FROM public.ab_experiments AS e WHERE e.id = experiment_id FOR NO KEY UPDATE;
    PERFORM FROM public.allocation_range AS r WHERE r.experiment_id = experiment_id;
    IF FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO public.allocation (experiment_id, epoch, started_at, actor, reason)
    VALUES (experiment_id, 1, started_at, actor, reason)
    ON CONFLICT DO NOTHING;
    INSERT INTO public.allocation_weight (experiment_id, epoch, variant_id, weight)
    SELECT experiment_id, 1, v.id, v.traffic_weight
    FROM public.ab_variants AS v WHERE v.experiment_id = experiment_id
    ON CONFLICT DO NOTHING;
    INSERT INTO public.allocation_range (experiment_id, epoch, lower_bound, variant_id)
    SELECT experiment_id, 1, slots.first / 4294967296, slots.id
    FROM (
        SELECT share.id, ceil(share.before / max(share.reached) OVER () * 4294967296) AS first,
               ceil(share.reached / max(share.reached) OVER () * 4294967296) AS next
        FROM (
            SELECT v.id, sum(v.traffic_weight) OVER (ordered ROWS UNBOUNDED PRECEDING) AS reached,
                   coalesce(sum(v.traffic_weight) OVER (
                       ordered ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM public.ab_variants AS v
            WHERE v.experiment_id = experiment_id AND v.traffic_weight > 0
            WINDOW ordered AS (ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        ) AS share
    ) AS slots
    WHERE slots.first < slots.next;
    RETURN true;
END $$
"""

CREATE_ASSIGN_VARIANT = """
CREATE FUNCTION public.assign_variant(
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

# As revision 004 made it.
CREATE_ASSIGN_VARIANT_BEFORE = """
CREATE FUNCTION public.assign_variant(experiment text, unit text, session text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    planned record;
    arm record;
    chosen record;
    place double precision := public.bucket('experiment:' || experiment, unit);
    total double precision := 0;
    reached double precision := 0;
    found_variant text;
BEGIN
    SELECT e.id, e.status INTO planned
    FROM public.ab_experiments AS e WHERE e.experiment_name = experiment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no experiment %', quote_literal(experiment)
            USING ERRCODE = 'no_data_found';
    END IF;
    SELECT v.variant_name INTO found_variant
    FROM public.ab_assignments AS a JOIN public.ab_variants AS v ON v.id = a.variant_id
    WHERE a.experiment_id = planned.id AND a.user_id = unit;
    IF FOUND OR planned.status <> 'active' THEN
        RETURN found_variant;
    END IF;
    FOR arm IN
        SELECT v.traffic_weight FROM public.ab_variants AS v
        WHERE v.experiment_id = planned.id ORDER BY v.is_control DESC, v.variant_name
    LOOP
        total := total + arm.traffic_weight;
    END LOOP;
    FOR arm IN
        SELECT v.id, v.traffic_weight FROM public.ab_variants AS v
        WHERE v.experiment_id = planned.id AND v.traffic_weight > 0
        ORDER BY v.is_control DESC, v.variant_name
    LOOP
        chosen := arm;
        reached := reached + arm.traffic_weight;
        EXIT WHEN place * total < reached;
    END LOOP;
    IF chosen IS NULL THEN
        RAISE EXCEPTION 'experiment % has no arm with traffic', quote_literal(experiment);
    END IF;
    INSERT INTO public.ab_assignments
        (experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value)
    VALUES (planned.id, chosen.id, unit, session, headway.clock_now(), place)
    ON CONFLICT (experiment_id, user_id) DO NOTHING;
    RETURN (
        SELECT v.variant_name
        FROM public.ab_assignments AS a JOIN public.ab_variants AS v ON v.id = a.variant_id
        WHERE a.experiment_id = planned.id AND a.user_id = unit);
END $$
"""

NEW_ASSIGN_VARIANT = "public.assign_variant(text, text, text, jsonb, jsonb)"
OLD_ASSIGN_VARIANT = "public.assign_variant(text, text, text)"
ASSIGNING = (
    SPEED_BUCKET_UP,
    CREATE_MATCHES_TARGET,
    CREATE_OPEN_FIRST_ALLOCATION,
    f"DROP FUNCTION {OLD_ASSIGN_VARIANT}",
    CREATE_ASSIGN_VARIANT,
    f"REVOKE EXECUTE ON FUNCTION {NEW_ASSIGN_VARIANT} FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {NEW_ASSIGN_VARIANT} TO {WRITER}, {READER}",
    f"ALTER FUNCTION {NEW_ASSIGN_VARIANT} OWNER TO {OWNER}",
    f"ALTER FUNCTION public.matches_target(jsonb, jsonb) OWNER TO {OWNER}",
    f"ALTER FUNCTION public.open_first_allocation(uuid, timestamptz, text, text) OWNER TO {OWNER}",
)
ASSIGNING_AS_BEFORE = (
    f"DROP FUNCTION {NEW_ASSIGN_VARIANT}",
    CREATE_ASSIGN_VARIANT_BEFORE,
    f"REVOKE EXECUTE ON FUNCTION {OLD_ASSIGN_VARIANT} FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {OLD_ASSIGN_VARIANT} TO {WRITER}, {READER}",
    f"ALTER FUNCTION {OLD_ASSIGN_VARIANT} OWNER TO {OWNER}",
    "DROP FUNCTION public.open_first_allocation(uuid, timestamptz, text, text)",
    "DROP FUNCTION public.matches_target(jsonb, jsonb)",
    BUCKET_BEFORE,
)

# What tasks/experiments/ingestion does with a loaded event: known ids are passed over, events of a
# unit that is not assigned yet wait, the first event of the primary metric in its window converts.
CREATE_TRACK_EVENT = """
CREATE FUNCTION public.track_event(
    experiment text,
    unit text,
    event_type text,
    event_value double precision DEFAULT NULL,
    event_id text DEFAULT NULL,
    event_data jsonb DEFAULT '{}',
    source text DEFAULT 'application',
    session_context jsonb DEFAULT '{}',
    event_timestamp timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    planned_id uuid;
    assigned record;
    moment timestamptz := coalesce(event_timestamp, headway.clock_now());
    known_as text := coalesce(nullif(btrim(event_id), ''), gen_random_uuid()::text);
    problem text := CASE
        WHEN coalesce(btrim(unit), '') = '' THEN 'a unit has an id'
        WHEN length(unit) > 255 THEN 'the id of a unit has at most 255 characters'
        WHEN coalesce(btrim(event_type), '') = '' THEN 'an event has a type'
        -- An index takes no more; an event that waits would stop the run that releases it.
        WHEN length(event_type) > 512 OR length(event_id) > 512
            THEN 'the type and the id of an event have at most 512 characters'
        WHEN NOT abs(coalesce(event_value, 0)) <= 1e100
            THEN 'a value is a finite number of at most 1e100'
        WHEN moment > headway.clock_now() + interval '5 minutes' OR NOT isfinite(moment)
            THEN format('%s lies in the future, or is no time', moment)
        WHEN jsonb_typeof(coalesce(event_data, '{}')) <> 'object'
            OR jsonb_typeof(coalesce(session_context, '{}')) <> 'object'
            THEN 'event_data and session_context are JSON objects' END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the event cannot be tracked: %', problem
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT e.id INTO planned_id
    FROM public.ab_experiments AS e WHERE e.experiment_name = experiment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no experiment %', quote_literal(experiment)
            USING ERRCODE = 'no_data_found';
    END IF;
    SELECT a.id, a.variant_id, a.assigned_at INTO assigned
    FROM public.ab_assignments AS a
    WHERE a.experiment_id = planned_id AND a.user_id = unit;
    IF NOT FOUND THEN
        INSERT INTO public.waiting_event
            (experiment_id, user_id, event_type, event_value, event_data, event_timestamp,
             event_id, source, session_context, received_at)
        VALUES
            (planned_id, unit, event_type, event_value, coalesce(event_data, '{}'), moment,
             known_as, source, coalesce(session_context, '{}'), headway.clock_now())
        ON CONFLICT DO NOTHING; -- a target would read event_id as the parameter
        RETURN FOUND;
    END IF;
    INSERT INTO public.ab_metrics
        (experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
         event_timestamp, source, session_context, created_at, event_id)
    VALUES
        (planned_id, assigned.variant_id, assigned.id, event_type, event_value,
         coalesce(event_data, '{}'), moment, source, coalesce(session_context, '{}'),
         headway.clock_now(), known_as)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO public.touched_unit (experiment_id, assignment_id)
    VALUES (planned_id, assigned.id);
    UPDATE public.ab_assignments AS a
    SET has_converted = true, converted_at = moment
    FROM public.experiment_metric AS em JOIN public.metric AS m ON m.id = em.metric_id
    WHERE a.id = assigned.id AND (NOT a.has_converted OR moment < a.converted_at)
        AND em.experiment_id = planned_id AND em.role = 'primary'
        AND m.event_type = event_type
        AND moment >= assigned.assigned_at + m.window_start_hours * interval '1 hour'
        AND (m.window_hours IS NULL
             OR moment < assigned.assigned_at + m.window_hours * interval '1 hour');
    RETURN true;
END $$
"""

# The older name: it refuses a unit that is not assigned, else it is track_event.
REPLACE_RECORD_EVENT = """
CREATE OR REPLACE FUNCTION public.record_event(
    experiment text,
    unit text,
    event_type text,
    event_value double precision DEFAULT NULL,
    event_id text DEFAULT NULL,
    event_data jsonb DEFAULT '{}',
    source text DEFAULT 'application'
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public.ab_assignments AS a
        JOIN public.ab_experiments AS e ON e.id = a.experiment_id
        WHERE e.experiment_name = experiment AND a.user_id = unit
    ) THEN
        RAISE EXCEPTION '% is not assigned in experiment %',
            quote_literal(unit), quote_literal(experiment)
            USING ERRCODE = 'no_data_found', HINT = 'call assign_variant first';
    END IF;
    RETURN public.track_event(
        experiment, unit, event_type, event_value, event_id, event_data, source);
END $$
"""

# As revision 004 made it.
RECORD_EVENT_BEFORE = """
CREATE OR REPLACE FUNCTION public.record_event(
    experiment text,
    unit text,
    event_type text,
    event_value double precision DEFAULT NULL,
    event_id text DEFAULT NULL,
    event_data jsonb DEFAULT '{}',
    source text DEFAULT 'application'
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    assigned record;
    moment timestamptz := headway.clock_now();
BEGIN
    SELECT a.id, a.experiment_id, a.variant_id INTO assigned
    FROM public.ab_assignments AS a
    JOIN public.ab_experiments AS e ON e.id = a.experiment_id
    WHERE e.experiment_name = experiment AND a.user_id = unit;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not assigned in experiment %',
            quote_literal(unit), quote_literal(experiment)
            USING ERRCODE = 'no_data_found', HINT = 'call assign_variant first';
    END IF;
    INSERT INTO public.ab_metrics
        (experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
         event_timestamp, source, event_id)
    VALUES
        (assigned.experiment_id, assigned.variant_id, assigned.id, event_type, event_value,
         event_data, moment, source, event_id)
    ON CONFLICT DO NOTHING; -- a target would read event_id as the parameter
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE public.ab_assignments AS a
    SET has_converted = true, converted_at = moment
    FROM public.experiment_metric AS em JOIN public.metric AS m ON m.id = em.metric_id
    WHERE a.id = assigned.id AND NOT a.has_converted
        AND em.experiment_id = assigned.experiment_id AND em.role = 'primary'
        AND m.event_type = event_type;
    RETURN true;
END $$
"""

TRACK_EVENT = (
    "public.track_event(text, text, text, double precision, text, jsonb, text, jsonb, timestamptz)"
)
TRACKING = (
    CREATE_TRACK_EVENT,
    f"REVOKE EXECUTE ON FUNCTION {TRACK_EVENT} FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {TRACK_EVENT} TO {WRITER}, {READER}",
    f"ALTER FUNCTION {TRACK_EVENT} OWNER TO {OWNER}",
    REPLACE_RECORD_EVENT,
)
TRACKING_AS_BEFORE = (RECORD_EVENT_BEFORE, f"DROP FUNCTION {TRACK_EVENT}")

# Experiments that are there already: their plan, and the split that has held since they started.
KEEP_EXPERIMENTS = (
    "INSERT INTO experiment_plan (experiment_id) SELECT id FROM ab_experiments",
    """
    SELECT public.open_first_allocation(
        id, coalesce(started_at, created_at), created_by, 'the first split')
    FROM ab_experiments WHERE status <> 'draft'
    """,
)

DROP_COLUMNS = (
    "ALTER TABLE ingest_batch DROP waiting_count, DROP corrected_count",
    "ALTER TABLE ab_assignments DROP is_override, DROP epoch",
    "ALTER TABLE ab_variants DROP model_version",
    "ALTER TABLE variant_metric DROP inputs_hash",
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
EVIDENCE = ("allocation", "allocation_weight", "allocation_range", "event_correction")

GRANTS = (
    (WRITER, "SELECT, INSERT", EVIDENCE[:3]),
    (WRITER, "SELECT", EVIDENCE[3:]),
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


ADD_INDEXES = (
    # When the last events of a type came, without reading the others.
    "CREATE INDEX idx_metric_arrival ON ab_metrics (experiment_id, event_type, created_at)",
    # The few units whose arm a person chose.
    "CREATE INDEX idx_assignment_overridden ON ab_assignments (experiment_id) WHERE is_override",
)


def upgrade() -> None:
    for statement in (
        *ADD_COLUMNS,
        *CREATE,
        *ASSIGNING,
        *TRACKING,
        *KEEP_EXPERIMENTS,
        *KEEP_CORRECTIONS,
    ):
        op.execute(statement)
    for role, privileges, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {', '.join(tables)} TO {role}")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    # A trigger on a table of one's own could forge what it keeps.
    op.execute("REVOKE EXECUTE ON FUNCTION public.keep_event_correction() FROM PUBLIC")
    op.execute(f"ALTER FUNCTION public.keep_event_correction() OWNER TO {OWNER}")
    for statement in ADD_INDEXES:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX idx_assignment_overridden")
    op.execute("DROP INDEX idx_metric_arrival")
    for role, privileges, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {', '.join(tables)} FROM {role}")
    for statement in (*TRACKING_AS_BEFORE, *ASSIGNING_AS_BEFORE):
        op.execute(statement)
    op.execute("DROP TRIGGER keep_event_correction ON ab_metrics")
    op.execute("DROP FUNCTION public.keep_event_correction()")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    for statement in (*DROP_COLUMNS, *DROP_SECONDARY):
        op.execute(statement)
    op.execute(f"ALTER TYPE metric_role OWNER TO {OWNER}")
