"""Add roles and grants: an owner, a writer, a reader, and the functions applications write through.

Phase: expand
Locks: ACCESS EXCLUSIVE on every table of ours, metadata only (they change their owner)
Reverse: takes the grants, the functions and the ownership back in this database. The roles stay:
    they belong to the whole cluster, and other databases may use them. To remove them too, do so
    in every database, then DROP ROLE headway_owner, headway_writer, headway_reader.

headway_owner migrates: it owns tables, types and functions. headway_writer is for Headway's flows:
it changes experiments and rollouts, and can only add to what is evidence. headway_reader is for
applications and reports: it reads, and writes an assignment, an event or a health sample only by
calling a function. None of them can log in: grant them to your own users.
"""

from __future__ import annotations

from alembic import op

revision = "004"
down_revision: str | None = "003"
branch_labels: str | None = None
depends_on: str | None = None

OWNER, WRITER, READER = "headway_owner", "headway_writer", "headway_reader"

TABLES = (
    "ab_experiments",
    "ab_variants",
    "ab_assignments",
    "ab_metrics",
    "metric",
    "experiment_metric",
    "variant_metric",
    "ingest_batch",
    "rejected_row",
    "rollout",
    "rollout_stage",
    "health_check",
    "rollout_change",
    "health_sample",
)
TYPES = (
    "experiment_status",
    "metric_aggregation",
    "metric_missing",
    "metric_role",
    "rollout_state",
    "health_verdict",
)
INTERFACE = (
    "public.assign_variant(text, text, text)",
    "public.record_event(text, text, text, double precision, text, jsonb, text)",
    "public.record_health_sample(text, text, double precision, bigint, timestamptz, text)",
)
FUNCTIONS = (
    *INTERFACE,
    "public.bucket(text, text)",
    "public.should_use_new_model(text, text)",
    "public.refuse_rollout_change_edit()",
)

# Role, privileges, schema, tables. The owner has every privilege on what it owns.
GRANTS = (
    (WRITER, "SELECT", "public", TABLES),
    (WRITER, "INSERT", "public", tuple(name for name in TABLES if name != "health_sample")),
    (WRITER, "UPDATE", "public", ("ab_experiments", "ab_variants", "ab_assignments", "rollout")),
    (READER, "SELECT", "public", TABLES),
    (OWNER, "SELECT", "headway", ("clock", "bootstrap_version")),
    (OWNER, "SELECT, INSERT", "headway", ("migration_run",)),
    (WRITER, "SELECT", "headway", ("clock", "bootstrap_version", "migration_run")),
    (WRITER, "SELECT, INSERT", "headway", ("decision",)),
    (WRITER, "SELECT, INSERT, DELETE", "headway", ("step", "step_attempt")),
    (WRITER, "SELECT, INSERT, UPDATE, DELETE", "headway", ("effect", "run")),
    (READER, "SELECT", "headway", ("clock", "bootstrap_version", "migration_run", "decision")),
    (READER, "SELECT", "headway", ("run", "step_attempt")),
)

CREATE_ROLES = """
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['headway_owner', 'headway_writer', 'headway_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this cluster made it just now
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'headway_owner', 'USAGE') THEN
        EXECUTE format('GRANT headway_owner TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'user % may not create the roles of Headway, or not become their owner',
        current_user
        USING ERRCODE = 'insufficient_privilege',
        HINT = format('Let an administrator run once: CREATE ROLE headway_owner NOLOGIN; '
            'CREATE ROLE headway_writer NOLOGIN; CREATE ROLE headway_reader NOLOGIN; '
            'GRANT headway_owner TO %I; (those that exist can be left out). '
            'Then migrate again.', current_user);
END $$
"""

# The arm of tasks/experiments/assignment: weights in the same order, summed in the same order.
CREATE_ASSIGN_VARIANT = """
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

# What tasks/experiments does with a loaded event: known ids are passed over, the first event of
# the primary metric converts its unit.
CREATE_RECORD_EVENT = """
CREATE FUNCTION public.record_event(
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


def upgrade() -> None:
    op.execute(CREATE_ROLES)
    op.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}")
    op.execute(f"GRANT USAGE ON SCHEMA public TO {WRITER}, {READER}")
    op.execute(f"GRANT USAGE ON SCHEMA headway TO {OWNER}, {WRITER}, {READER}")
    op.execute(CREATE_ASSIGN_VARIANT)
    op.execute(CREATE_RECORD_EVENT)
    op.execute(
        f"ALTER FUNCTION {INTERFACE[2]} SECURITY DEFINER "
        "SET search_path = pg_catalog, public, pg_temp"
    )
    for role, privileges, schema, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {_listed(schema, tables)} TO {role}")
    for function in INTERFACE:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {WRITER}, {READER}")
    _give_to(OWNER)


def downgrade() -> None:
    _give_to("CURRENT_USER")
    for role, privileges, schema, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {_listed(schema, tables)} FROM {role}")
    op.execute(f"DROP FUNCTION {INTERFACE[0]}")
    op.execute(f"DROP FUNCTION {INTERFACE[1]}")
    op.execute(f"ALTER FUNCTION {INTERFACE[2]} SECURITY INVOKER RESET search_path")
    op.execute(f"REVOKE EXECUTE ON FUNCTION {INTERFACE[2]} FROM {WRITER}, {READER}")
    op.execute(f"GRANT EXECUTE ON FUNCTION {INTERFACE[2]} TO PUBLIC")
    op.execute(f"REVOKE USAGE ON SCHEMA headway FROM {OWNER}, {WRITER}, {READER}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {WRITER}, {READER}")
    op.execute(f"REVOKE USAGE, CREATE ON SCHEMA public FROM {OWNER}")


def _give_to(owner: str) -> None:
    for table in (*TABLES, "alembic_version"):
        op.execute(f"ALTER TABLE public.{table} OWNER TO {owner}")
    for enum in TYPES:
        op.execute(f"ALTER TYPE public.{enum} OWNER TO {owner}")
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} OWNER TO {owner}")


def _listed(schema: str, tables: tuple[str, ...]) -> str:
    return ", ".join(f"{schema}.{table}" for table in tables)
