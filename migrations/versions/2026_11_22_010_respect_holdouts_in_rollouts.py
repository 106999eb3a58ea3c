"""Respect holdouts in rollouts: who is held out keeps the old version while the holdout runs.

Rollouts that have begun go on as they did; drafts of an experiment's winner respect holdouts.

Phase: expand
Locks: rollout ACCESS EXCLUSIVE for a new column (metadata only, no rewrite); an index of
    experiment_plan, one row an experiment
Reverse: drops the column, and nobody is held out of a rollout any more; no row goes
"""

from __future__ import annotations

from alembic import op

revision = "010"
down_revision: str | None = "009"
branch_labels: str | None = None
depends_on: str | None = None

OWNER = "headway_owner"

ADD = (
    "ALTER TABLE rollout ADD respects_holdouts BOOLEAN DEFAULT false NOT NULL",
    """
    UPDATE rollout SET respects_holdouts = true
    WHERE experiment_id IS NOT NULL AND state IN ('draft', 'scheduled')
    """,
    # Few plans are holdouts, which are looked for whenever somebody is let in.
    "CREATE INDEX idx_experiment_plan_holdout ON experiment_plan (experiment_id) WHERE is_holdout",
    # What decides who is held out. Without bounds only those who have an arm are known: the holdout
    # is paused, or its target rules ask for attributes.
    """
    CREATE TYPE public.respected_holdout AS (
        experiment_id uuid,
        name text,
        held_out uuid,
        has_overrides boolean,
        fraction double precision,
        bounds double precision[],
        arms uuid[]
    )
    """,
)
DROP = (
    "DROP TYPE public.respected_holdout",
    "DROP INDEX idx_experiment_plan_holdout",
    "ALTER TABLE rollout DROP respects_holdouts",
)

# The holdouts that ran when the rollout began, and still do. One that began later passes the
# rollout by: its users have the version already. NULL: there is none. plpgsql, so that no plan is
# made of it where nobody asks.
RESPECTED_HOLDOUTS = """
CREATE FUNCTION public.respected_holdouts(rollout_id bigint)
RETURNS public.respected_holdout[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
#variable_conflict use_variable
BEGIN
    RETURN (
        SELECT array_agg(CAST(ROW(
            h.id, h.experiment_name, control.id,
            EXISTS (SELECT FROM public.assignment_override AS o WHERE o.experiment_id = h.id),
            coalesce(p.traffic_fraction, 1),
            split.bounds, split.arms
        ) AS public.respected_holdout) ORDER BY h.experiment_name COLLATE "C")
        FROM public.rollout AS r
        JOIN public.experiment_plan AS p
            ON p.is_holdout AND (p.organization IS NULL OR p.organization = r.organization)
        JOIN public.ab_experiments AS h
            ON h.id = p.experiment_id AND h.status IN ('active', 'paused')
        JOIN public.ab_variants AS control ON control.experiment_id = h.id AND control.is_control
        LEFT JOIN LATERAL (
            SELECT array_agg(place.lower_bound ORDER BY place.lower_bound) AS bounds,
                   array_agg(place.variant_id ORDER BY place.lower_bound, place.variant_id) AS arms
            FROM (
                SELECT s.lower_bound, s.variant_id
                FROM public.allocation_range AS s
                WHERE s.experiment_id = h.id AND s.epoch = (
                    SELECT max(newest.epoch) FROM public.allocation_range AS newest
                    WHERE newest.experiment_id = h.id)
                UNION ALL
                -- Nobody has asked it yet: the first who does will find the control in front.
                SELECT first.lower_bound, first.variant_id
                FROM (
                    SELECT sum(v.traffic_weight) AS weight FROM public.ab_variants AS v
                    WHERE v.experiment_id = h.id
                ) AS total
                CROSS JOIN LATERAL (VALUES
                    (CAST(0 AS double precision), control.id),
                    (ceil(control.traffic_weight / nullif(total.weight, 0) * 4294967296)
                        / 4294967296, NULL)
                ) AS first (lower_bound, variant_id)
                WHERE total.weight > 0 AND NOT EXISTS (
                    SELECT FROM public.allocation_range AS s WHERE s.experiment_id = h.id)
            ) AS place
        ) AS split ON h.status = 'active' AND p.target_rules = '[]'
        WHERE r.id = rollout_id AND r.respects_holdouts
          AND coalesce(h.started_at, h.created_at) <= coalesce((
              SELECT c.changed_at FROM public.rollout_change AS c
              WHERE c.rollout_id = r.id AND c.cause = 'start' ORDER BY c.id LIMIT 1), r.created_at)
    );
END $$
"""

# As choosing.py has it for a unit without attributes. STRICT: nobody is held out by no holdout.
IS_HELD_OUT = """
CREATE FUNCTION public.is_held_out(holdouts public.respected_holdout[], user_id text)
RETURNS boolean
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
#variable_conflict use_variable
DECLARE
    holdout public.respected_holdout;
    arm uuid;
BEGIN
    FOREACH holdout IN ARRAY holdouts LOOP
        arm := NULL;
        IF holdout.has_overrides THEN
            arm := (
                SELECT o.variant_id FROM public.assignment_override AS o
                WHERE o.experiment_id = holdout.experiment_id AND o.user_id = user_id);
        END IF;
        IF arm IS NULL THEN
            arm := (
                SELECT a.variant_id FROM public.ab_assignments AS a
                WHERE a.experiment_id = holdout.experiment_id AND a.user_id = user_id);
        END IF;
        IF arm IS NULL AND length(user_id) BETWEEN 1 AND 255 AND (holdout.fraction = 1
            OR public.bucket('traffic:' || holdout.name, user_id) < holdout.fraction)
        THEN
            arm := holdout.arms[width_bucket(
                public.bucket('experiment:' || holdout.name, user_id), holdout.bounds)];
        END IF;
        IF arm = holdout.held_out THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$
"""

# The same of many, by one join; the plan follows how many they are.
HELD_OUT_OF = """
CREATE FUNCTION public.held_out_of(holdouts public.respected_holdout[], user_ids text[])
RETURNS SETOF text
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_variable
DECLARE
    holdout public.respected_holdout;
BEGIN
    FOREACH holdout IN ARRAY holdouts LOOP
        RETURN QUERY
            SELECT asked
            FROM unnest(user_ids) AS asked
            LEFT JOIN public.assignment_override AS o
                ON o.experiment_id = holdout.experiment_id AND o.user_id = asked
            LEFT JOIN public.ab_assignments AS a
                ON a.experiment_id = holdout.experiment_id AND a.user_id = asked
            WHERE holdout.held_out = coalesce(o.variant_id, a.variant_id, CASE
                WHEN length(asked) BETWEEN 1 AND 255 AND (holdout.fraction = 1
                    OR public.bucket('traffic:' || holdout.name, asked) < holdout.fraction)
                THEN holdout.arms[width_bucket(
                    public.bucket('experiment:' || holdout.name, asked), holdout.bounds)]
            END);
    END LOOP;
END $$
"""

EXPOSURE = """
CREATE FUNCTION public.rollout_exposure(model_version text)
RETURNS TABLE (
    rollout_id bigint, salt text, hash_version integer, percentage double precision,
    state rollout_state, stage_index integer, is_closed boolean,
    holdouts public.respected_holdout[]
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT newest.id, newest.salt, newest.hash_version,
           CASE WHEN newest.is_closed THEN 0 ELSE newest.percentage END,
           newest.state, newest.stage_index, newest.is_closed, newest.holdouts
    FROM (
        SELECT r.*, r.is_fail_closed AND r.state IN ('running', 'paused', 'manual_hold')
            AND COALESCE(r.ticked_at, r.stage_entered_at)
                < headway.clock_now() - make_interval(secs => 2 * r.tick_seconds) AS is_closed,
            CASE WHEN r.respects_holdouts THEN public.respected_holdouts(r.id) END AS holdouts
        FROM public.rollout r
        WHERE r.model_version = rollout_exposure.model_version
          AND r.state::text NOT IN ('draft', 'scheduled')
        ORDER BY r.id DESC LIMIT 1
    ) newest
$$
"""
# As revision 008 made it.
EXPOSURE_BEFORE = """
CREATE FUNCTION public.rollout_exposure(model_version text)
RETURNS TABLE (
    rollout_id bigint, salt text, hash_version integer, percentage double precision,
    state rollout_state, stage_index integer, is_closed boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
        SELECT newest.id, newest.salt, newest.hash_version,
               CASE WHEN newest.is_closed THEN 0 ELSE newest.percentage END,
               newest.state, newest.stage_index, newest.is_closed
        FROM (
            SELECT r.*, r.is_fail_closed AND r.state IN ('running', 'paused', 'manual_hold')
                AND COALESCE(r.ticked_at, r.stage_entered_at)
                    < headway.clock_now() - make_interval(secs => 2 * r.tick_seconds) AS is_closed
            FROM public.rollout r
            WHERE r.model_version = rollout_exposure.model_version
              AND r.state::text NOT IN ('draft', 'scheduled')
            ORDER BY r.id DESC LIMIT 1
        ) newest
    $$
"""

USE_NEW_MODEL = """
    CREATE OR REPLACE FUNCTION public.should_use_new_model(user_id text, model_version text)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT COALESCE((
            SELECT public.bucket(e.salt, should_use_new_model.user_id) * 100 < e.percentage
                AND public.is_held_out(e.holdouts, should_use_new_model.user_id) IS NOT TRUE
            FROM public.rollout_exposure(should_use_new_model.model_version) e
            WHERE should_use_new_model.user_id <> ''
        ), false)
    $$
"""
# The exposure is read once, and who is held out is joined: a look for each of a million takes long.
USE_NEW_MODEL_OF_MANY = """
    CREATE OR REPLACE FUNCTION public.should_use_new_model(user_ids text[], model_version text)
    RETURNS TABLE (user_id text, should_use boolean)
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
    #variable_conflict use_variable
    DECLARE
        exposure record;
        held_out text[];
    BEGIN
        SELECT e.salt, e.percentage, e.holdouts INTO exposure
        FROM public.rollout_exposure(model_version) AS e;
        held_out := ARRAY(SELECT public.held_out_of(exposure.holdouts, user_ids));
        RETURN QUERY
            SELECT asked, coalesce(
                asked <> '' AND public.bucket(exposure.salt, asked) * 100 < exposure.percentage
                AND asked NOT IN (SELECT unnest(held_out)), false)
            FROM unnest(user_ids) AS asked;
    END $$
"""
# As revision 009 made them: nobody asks a holdout.
USE_NEW_MODEL_BEFORE = USE_NEW_MODEL.replace(
    """
                AND public.is_held_out(e.holdouts, should_use_new_model.user_id) IS NOT TRUE""",
    "",
)
USE_NEW_MODEL_OF_MANY_BEFORE = """
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

ADDED = (
    "public.respected_holdouts(bigint)",
    "public.is_held_out(public.respected_holdout[], text)",
    "public.held_out_of(public.respected_holdout[], text[])",
)
EXPOSED = "public.rollout_exposure(text)"


def upgrade() -> None:
    for statement in (*ADD, RESPECTED_HOLDOUTS, IS_HELD_OUT, HELD_OUT_OF):
        op.execute(statement)
    op.execute(f"DROP FUNCTION {EXPOSED}")  # it returns one column more
    for function in (EXPOSURE, USE_NEW_MODEL, USE_NEW_MODEL_OF_MANY):
        op.execute(function)
    op.execute(f"ALTER TYPE public.respected_holdout OWNER TO {OWNER}")
    for function in (*ADDED, EXPOSED):
        op.execute(f"ALTER FUNCTION {function} OWNER TO {OWNER}")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {EXPOSED}")
    for function in (EXPOSURE_BEFORE, USE_NEW_MODEL_BEFORE, USE_NEW_MODEL_OF_MANY_BEFORE):
        op.execute(function)
    op.execute(f"ALTER FUNCTION {EXPOSED} OWNER TO {OWNER}")
    for function in reversed(ADDED):
        op.execute(f"DROP FUNCTION {function}")
    for statement in DROP:
        op.execute(statement)
