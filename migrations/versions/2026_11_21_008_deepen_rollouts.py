"""Deepen rollouts: plans and schedules, guards, alerts, where they come from, keys to ask.

Phase: expand
Locks: rollout, health_check, rollout_change and health_sample ACCESS EXCLUSIVE for new columns
    (metadata only, no rewrite), SHARE while their indexes are built
Reverse: drops the tables and columns with what they hold, drafts, and scheduled rollouts, which the
    earlier schema cannot name; rollouts that have begun, their checks and their audit stay
"""

from __future__ import annotations

from alembic import op

revision = "008"
down_revision: str | None = "007"
branch_labels: str | None = None
depends_on: str | None = None
lossy = (
    "guards, sources and freezes of a policy have no place in the earlier schema; the archive "
    "keeps every policy as it was"
)

OWNER, WRITER, READER = "headway_owner", "headway_writer", "headway_reader"

TABLES = ("rollout_origin", "alert", "alert_change", "api_key")

CREATE = (
    """
    CREATE TABLE rollout_origin (
        rollout_id BIGINT NOT NULL,
        experiment_id UUID NOT NULL,
        variant_name TEXT NOT NULL,
        decision_id BIGINT NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_rollout_origin PRIMARY KEY (rollout_id),
        CONSTRAINT uq_rollout_origin_experiment_id_variant_name
            UNIQUE (experiment_id, variant_name),
        CONSTRAINT fk_rollout_origin_rollout_id
            FOREIGN KEY (rollout_id) REFERENCES rollout (id) ON DELETE CASCADE,
        CONSTRAINT fk_rollout_origin_experiment_id
            FOREIGN KEY (experiment_id) REFERENCES ab_experiments (id)
    )
    """,
    """
    CREATE TABLE alert (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        subject TEXT NOT NULL,
        metric TEXT NOT NULL,
        severity TEXT NOT NULL,
        state TEXT DEFAULT 'open' NOT NULL,
        title TEXT NOT NULL,
        message TEXT NOT NULL,
        details JSONB DEFAULT '{}' NOT NULL,
        occurrences INTEGER DEFAULT '1' NOT NULL,
        healthy_streak INTEGER DEFAULT '0' NOT NULL,
        opened_at timestamptz DEFAULT now() NOT NULL,
        seen_at timestamptz DEFAULT now() NOT NULL,
        acknowledged_at timestamptz,
        resolved_at timestamptz,
        CONSTRAINT pk_alert PRIMARY KEY (id),
        CONSTRAINT ck_alert_names CHECK (subject <> '' AND metric <> ''),
        CONSTRAINT ck_alert_severity CHECK (severity IN ('info', 'warning', 'critical')),
        CONSTRAINT ck_alert_state CHECK (state IN ('open', 'acknowledged', 'resolved')),
        CONSTRAINT ck_alert_resolved_at
            CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
        CONSTRAINT ck_alert_acknowledged_at
            CHECK (state <> 'acknowledged' OR acknowledged_at IS NOT NULL)
    )
    """,
    """
    CREATE UNIQUE INDEX idx_alert_one_open ON alert (subject, metric) WHERE state <> 'resolved'
    """,
    """
    CREATE TABLE alert_change (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        alert_id BIGINT NOT NULL,
        old_state TEXT,
        new_state TEXT NOT NULL,
        actor TEXT NOT NULL,
        note TEXT NOT NULL,
        changed_at timestamptz DEFAULT now() NOT NULL,
        CONSTRAINT pk_alert_change PRIMARY KEY (id),
        CONSTRAINT fk_alert_change_alert_id FOREIGN KEY (alert_id) REFERENCES alert (id)
    )
    """,
    "CREATE INDEX idx_alert_change_alert ON alert_change (alert_id, id)",
    """
    CREATE TABLE api_key (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        name TEXT NOT NULL,
        key_hash TEXT NOT NULL,
        key_prefix TEXT NOT NULL,
        scopes TEXT[] NOT NULL,
        organization TEXT,
        requests_per_minute INTEGER,
        created_by TEXT NOT NULL,
        created_at timestamptz DEFAULT now() NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        CONSTRAINT pk_api_key PRIMARY KEY (id),
        CONSTRAINT uq_api_key_name UNIQUE (name),
        CONSTRAINT uq_api_key_key_hash UNIQUE (key_hash),
        CONSTRAINT ck_api_key_names CHECK (name <> '' AND organization <> ''),
        CONSTRAINT ck_api_key_requests_per_minute CHECK (requests_per_minute > 0),
        CONSTRAINT ck_api_key_scopes
            CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['evaluate', 'track', 'read'])
    )
    """,
)

ADD_COLUMNS = (
    # As text: where both revisions share a transaction, the values of 007 cannot be used yet.
    """
    ALTER TABLE rollout
        ADD streaks jsonb NOT NULL DEFAULT '{}',
        ADD control_version text,
        ADD organization text,
        ADD exclusion_group text,
        ADD starts_at timestamptz,
        ADD requests_per_hour double precision,
        ADD is_fail_closed boolean NOT NULL DEFAULT false,
        ADD tick_seconds double precision NOT NULL DEFAULT 3600,
        ADD ticked_at timestamptz,
        ADD CONSTRAINT ck_rollout_not_begun_is_zero
            CHECK (state::text NOT IN ('draft', 'scheduled') OR percentage = 0),
        ADD CONSTRAINT ck_rollout_scheduled_has_time
            CHECK (state::text <> 'scheduled' OR starts_at IS NOT NULL),
        ADD CONSTRAINT ck_rollout_control_version CHECK (control_version <> model_version),
        ADD CONSTRAINT ck_rollout_groups CHECK (exclusion_group <> '' AND organization <> ''),
        ADD CONSTRAINT ck_rollout_requests_per_hour
            CHECK (requests_per_hour > 0 AND requests_per_hour < 'Infinity'),
        ADD CONSTRAINT ck_rollout_tick_seconds
            CHECK (tick_seconds > 0 AND tick_seconds <= 2678400)
    """,
    """
    ALTER TABLE health_check
        ADD guard text NOT NULL DEFAULT 'threshold',
        ADD action text NOT NULL DEFAULT 'rollback',
        ADD is_shadow boolean NOT NULL DEFAULT false,
        ADD is_shared boolean NOT NULL DEFAULT false,
        ADD control_value double precision,
        ADD control_count bigint,
        ADD evidence jsonb NOT NULL DEFAULT '{}',
        ADD shadow_guard text,
        ADD shadow_verdict health_verdict,
        ADD shadow_message text,
        DROP CONSTRAINT ck_health_check_operator,
        ADD CONSTRAINT ck_health_check_operator CHECK (operator IN ('<', '<=', '>', '>=')),
        ADD CONSTRAINT ck_health_check_action CHECK (action IN ('rollback', 'hold', 'warn'))
    """,
    """
    ALTER TABLE rollout_change
        ADD version integer,
        DROP CONSTRAINT fk_rollout_change_rollout_id,
        DROP CONSTRAINT ck_rollout_change_cause,
        ADD CONSTRAINT ck_rollout_change_cause CHECK (
            cause IN ('create', 'schedule', 'edit', 'delete', 'start', 'advance', 'complete',
                      'rollback', 'manual_rollback', 'manual_set', 'pause', 'resume', 'noop')
        )
    """,
    """
    ALTER TABLE health_sample
        ADD square_sum double precision,
        ADD event_id text,
        ADD CONSTRAINT ck_health_sample_square_sum CHECK (square_sum >= 0)
    """,
    # What was one window for all checks is each check's own.
    """
    UPDATE rollout SET policy = (policy - 'window_minutes') || jsonb_build_object('checks', (
        SELECT jsonb_agg(
            value || jsonb_build_object(
                'window_hours', COALESCE((policy ->> 'window_minutes')::double precision, 60) / 60
            ) ORDER BY ordinality
        )
        FROM jsonb_array_elements(policy -> 'checks') WITH ORDINALITY
    ))
    """,
)

ADD_INDEXES = (
    """
    CREATE UNIQUE INDEX idx_rollout_one_in_group ON rollout (exclusion_group)
        WHERE state IN ('running', 'paused', 'manual_hold')
    """,
    "CREATE INDEX idx_health_check_age ON health_check (checked_at)",
    "CREATE INDEX idx_health_sample_age ON health_sample (observed_at)",
    """
    CREATE UNIQUE INDEX idx_health_sample_once ON health_sample (source, event_id)
        WHERE event_id IS NOT NULL
    """,
)

# The newest rollout of the version that has begun answers, in any state: rolled back is 0 %,
# completed 100 %. One that fails closed answers 0 % once two ticks have not come.
EXPOSING = (
    """
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
    """,
    "DROP FUNCTION public.should_use_new_model(text, text)",
    """
    CREATE FUNCTION public.should_use_new_model(user_id text, model_version text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT COALESCE((
            SELECT public.bucket(e.salt, should_use_new_model.user_id) * 100 < e.percentage
            FROM public.rollout_exposure(should_use_new_model.model_version) e
        ), false)
    $$
    """,
    """
    CREATE FUNCTION public.should_use_new_model(user_ids text[], model_version text)
    RETURNS TABLE (user_id text, should_use boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
        SELECT asked, COALESCE(public.bucket(e.salt, asked) * 100 < e.percentage, false)
        FROM unnest(should_use_new_model.user_ids) asked
        LEFT JOIN public.rollout_exposure(should_use_new_model.model_version) e ON true
    $$
    """,
)
EXPOSING_AS_BEFORE = (
    "DROP FUNCTION public.should_use_new_model(text[], text)",
    "DROP FUNCTION public.should_use_new_model(text, text)",
    "DROP FUNCTION public.rollout_exposure(text)",
    """
    CREATE FUNCTION public.should_use_new_model(user_id text, model_version text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce((
        SELECT bucket(newest.salt, should_use_new_model.user_id) * 100 < newest.percentage
        FROM rollout AS newest
        WHERE newest.model_version = should_use_new_model.model_version
        ORDER BY newest.id DESC
        LIMIT 1), false)
    """,
)

SAMPLING = (
    (
        "DROP FUNCTION public.record_health_sample("
        "text, text, double precision, bigint, timestamptz, text)"
    ),
    """
    CREATE FUNCTION public.record_health_sample(
        model_version text,
        metric text,
        value_sum double precision,
        sample_count bigint DEFAULT NULL,
        observed_at timestamptz DEFAULT NULL,
        source text DEFAULT 'application',
        square_sum double precision DEFAULT NULL,
        event_id text DEFAULT NULL
    ) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    AS $$
    #variable_conflict use_variable
    DECLARE
        sample_id bigint;
    BEGIN
        INSERT INTO public.health_sample (
            model_version, metric, value_sum, sample_count, observed_at, source, square_sum,
            event_id
        )
        VALUES (
            model_version, metric, value_sum, sample_count,
            COALESCE(observed_at, headway.clock_now()), source, square_sum, event_id
        )
        ON CONFLICT DO NOTHING -- a target would read event_id as the parameter
        RETURNING id INTO sample_id;
        RETURN sample_id;
    END $$
    """,
    # Whoever watches need not ask again and again.
    """
    CREATE FUNCTION public.announce_health_samples() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM pg_notify('headway_health_sample', left(model_version, 1900))
        FROM (SELECT DISTINCT model_version FROM added) version;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER announce_health_samples
        AFTER INSERT ON health_sample REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION public.announce_health_samples()
    """,
)
SAMPLING_AS_BEFORE = (
    "DROP TRIGGER announce_health_samples ON health_sample",
    "DROP FUNCTION public.announce_health_samples()",
    (
        "DROP FUNCTION public.record_health_sample("
        "text, text, double precision, bigint, timestamptz, text, double precision, text)"
    ),
    """
    CREATE FUNCTION public.record_health_sample(
        model_version text,
        metric text,
        value_sum double precision,
        sample_count bigint DEFAULT NULL,
        observed_at timestamptz DEFAULT NULL,
        source text DEFAULT 'application'
    ) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
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
    """,
)

# What has begun is evidence; only a draft may go.
KEEPING = (
    """
    CREATE FUNCTION public.refuse_delete_unless_draft() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        standing text := COALESCE(to_jsonb(OLD) ->> 'state', to_jsonb(OLD) ->> 'status');
    BEGIN
        IF standing <> 'draft' THEN
            RAISE EXCEPTION 'DELETE on % is refused: it is %, and only a draft may be deleted',
                TG_TABLE_NAME, standing;
        END IF;
        RETURN OLD;
    END $$
    """,
    """
    CREATE TRIGGER refuse_delete_unless_draft BEFORE DELETE ON rollout
        FOR EACH ROW EXECUTE FUNCTION public.refuse_delete_unless_draft()
    """,
    """
    CREATE TRIGGER refuse_delete_unless_draft BEFORE DELETE ON ab_experiments
        FOR EACH ROW EXECUTE FUNCTION public.refuse_delete_unless_draft()
    """,
    # An arm that had traffic is evidence too, and a started experiment is never a draft again.
    """
    CREATE FUNCTION public.refuse_delete_of_started_variant() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        standing text := (
            SELECT e.status FROM public.ab_experiments e WHERE e.id = OLD.experiment_id
        );
    BEGIN
        -- No row: the draft itself is being deleted.
        IF standing <> 'draft' THEN
            RAISE EXCEPTION 'DELETE on ab_variants is refused: its experiment is %', standing;
        END IF;
        RETURN OLD;
    END $$
    """,
    """
    CREATE TRIGGER refuse_delete_of_started_variant BEFORE DELETE ON ab_variants
        FOR EACH ROW EXECUTE FUNCTION public.refuse_delete_of_started_variant()
    """,
    """
    CREATE FUNCTION public.refuse_return_to_draft() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        RAISE EXCEPTION 'UPDATE on ab_experiments is refused: it is %, and never a draft again',
            OLD.status;
    END $$
    """,
    """
    CREATE TRIGGER refuse_return_to_draft BEFORE UPDATE OF status ON ab_experiments
        FOR EACH ROW WHEN (NEW.status = 'draft' AND OLD.status <> 'draft')
        EXECUTE FUNCTION public.refuse_return_to_draft()
    """,
    """
    CREATE FUNCTION public.refuse_alert_change_edit() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog
    AS $$
    BEGIN
        RAISE EXCEPTION '% on alert_change is refused: it is append-only', TG_OP;
    END $$
    """,
    """
    CREATE TRIGGER alert_change_is_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_change
        FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_alert_change_edit()
    """,
)

GRANTS = (
    (READER, "SELECT", ("rollout_origin", "alert", "alert_change")),
    (WRITER, "SELECT, INSERT, UPDATE", ("alert", "api_key")),
    (WRITER, "SELECT, INSERT", ("alert_change", "rollout_origin")),
    (WRITER, "INSERT", ("health_sample",)),
    (WRITER, "DELETE", ("rollout", "rollout_stage", "health_check", "health_sample")),
)
FUNCTIONS = (
    "public.rollout_exposure(text)",
    "public.should_use_new_model(text, text)",
    "public.should_use_new_model(text[], text)",
    (
        "public.record_health_sample(text, text, double precision, bigint, timestamptz, text, "
        "double precision, text)"
    ),
    "public.announce_health_samples()",
    "public.refuse_delete_unless_draft()",
    "public.refuse_delete_of_started_variant()",
    "public.refuse_return_to_draft()",
    "public.refuse_alert_change_edit()",
)

# The audit of what the earlier schema cannot name goes with it.
DROP_UNBEGUN = (
    "ALTER TABLE rollout_change DISABLE TRIGGER rollout_change_is_append_only",
    """
    DELETE FROM rollout_change c
    WHERE NOT EXISTS (
        SELECT FROM rollout r WHERE r.id = c.rollout_id AND r.state NOT IN ('draft', 'scheduled')
    )
    """,
    """
    UPDATE rollout_change
    SET cause = CASE WHEN cause IN ('create', 'schedule', 'edit', 'delete') THEN 'noop'
                ELSE cause END,
        old_state = CASE WHEN old_state IN ('draft', 'scheduled') THEN NULL ELSE old_state END,
        new_state = CASE WHEN new_state IN ('draft', 'scheduled') THEN 'running'
                    ELSE new_state END
    WHERE cause IN ('create', 'schedule', 'edit', 'delete')
       OR old_state IN ('draft', 'scheduled') OR new_state IN ('draft', 'scheduled')
    """,
    "ALTER TABLE rollout_change ENABLE TRIGGER rollout_change_is_append_only",
    """
    DELETE FROM rollout_stage s USING rollout r
    WHERE r.id = s.rollout_id AND r.state IN ('draft', 'scheduled')
    """,
    """
    DELETE FROM health_check h USING rollout r
    WHERE r.id = h.rollout_id AND r.state IN ('draft', 'scheduled')
    """,
    "DELETE FROM rollout WHERE state IN ('draft', 'scheduled')",
    """
    UPDATE rollout SET policy = jsonb_build_object(
        'max_hold_hours', COALESCE(policy -> 'max_hold_hours', '24'),
        'max_hold_action', COALESCE(policy -> 'max_hold_action', '"hold"'),
        'window_minutes', (
            SELECT least(44640, 60 * min(COALESCE((value ->> 'window_hours')::float8, 24)))
            FROM jsonb_array_elements(policy -> 'checks')
        ),
        'checks', (
            SELECT jsonb_agg(jsonb_build_object(
                'check', value -> 'check', 'limit', value -> 'limit',
                'min_samples', COALESCE(value -> 'min_samples', '100')
            ) ORDER BY ordinality)
            FROM jsonb_array_elements(policy -> 'checks') WITH ORDINALITY
        )
    )
    """,
    "UPDATE health_check SET operator = left(operator, 1) WHERE length(operator) = 2",
)

DROP_COLUMNS = (
    """
    ALTER TABLE health_sample
        DROP CONSTRAINT ck_health_sample_square_sum, DROP event_id, DROP square_sum
    """,
    """
    ALTER TABLE rollout_change
        DROP version,
        DROP CONSTRAINT ck_rollout_change_cause,
        ADD CONSTRAINT ck_rollout_change_cause CHECK (
            cause IN ('start', 'advance', 'complete', 'rollback', 'manual_rollback', 'manual_set',
                      'pause', 'resume', 'noop')
        ),
        ADD CONSTRAINT fk_rollout_change_rollout_id
            FOREIGN KEY (rollout_id) REFERENCES rollout (id)
    """,
    """
    ALTER TABLE health_check
        DROP CONSTRAINT ck_health_check_action,
        DROP CONSTRAINT ck_health_check_operator,
        ADD CONSTRAINT ck_health_check_operator CHECK (operator IN ('<', '>')),
        DROP shadow_message, DROP shadow_verdict, DROP shadow_guard, DROP evidence,
        DROP control_count, DROP control_value, DROP is_shared, DROP is_shadow, DROP action,
        DROP guard
    """,
    """
    ALTER TABLE rollout
        DROP CONSTRAINT ck_rollout_not_begun_is_zero,
        DROP CONSTRAINT ck_rollout_scheduled_has_time,
        DROP CONSTRAINT ck_rollout_control_version,
        DROP CONSTRAINT ck_rollout_groups,
        DROP CONSTRAINT ck_rollout_requests_per_hour,
        DROP CONSTRAINT ck_rollout_tick_seconds,
        DROP ticked_at, DROP tick_seconds, DROP is_fail_closed, DROP requests_per_hour,
        DROP starts_at, DROP exclusion_group, DROP organization, DROP control_version,
        DROP streaks
    """,
)

SAMPLE_BEFORE = (
    "public.record_health_sample(text, text, double precision, bigint, timestamptz, text)"
)
USE_BEFORE = "public.should_use_new_model(text, text)"


def upgrade() -> None:
    for statement in (*ADD_COLUMNS, *CREATE, *EXPOSING, *SAMPLING, *KEEPING):
        op.execute(statement)
    for role, privileges, tables in GRANTS:
        op.execute(f"GRANT {privileges} ON {', '.join(tables)} TO {role}")
    _guard_writing(FUNCTIONS[3])
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} OWNER TO {OWNER}")
    for statement in ADD_INDEXES:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX idx_health_sample_once, idx_health_sample_age, idx_health_check_age")
    op.execute("DROP INDEX idx_rollout_one_in_group")
    for role, privileges, tables in GRANTS:
        op.execute(f"REVOKE {privileges} ON {', '.join(tables)} FROM {role}")
    op.execute("DROP TRIGGER refuse_return_to_draft ON ab_experiments")
    op.execute("DROP TRIGGER refuse_delete_of_started_variant ON ab_variants")
    op.execute("DROP TRIGGER refuse_delete_unless_draft ON ab_experiments")
    op.execute("DROP TRIGGER refuse_delete_unless_draft ON rollout")
    for statement in (*DROP_UNBEGUN, *SAMPLING_AS_BEFORE, *EXPOSING_AS_BEFORE[:3]):
        op.execute(statement)
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION public.refuse_alert_change_edit()")
    op.execute("DROP FUNCTION public.refuse_return_to_draft()")
    op.execute("DROP FUNCTION public.refuse_delete_of_started_variant()")
    op.execute("DROP FUNCTION public.refuse_delete_unless_draft()")
    for statement in (*DROP_COLUMNS, EXPOSING_AS_BEFORE[3]):
        op.execute(statement)
    _guard_writing(SAMPLE_BEFORE)
    for function in (SAMPLE_BEFORE, USE_BEFORE):
        op.execute(f"ALTER FUNCTION {function} OWNER TO {OWNER}")


def _guard_writing(function: str) -> None:
    op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {WRITER}, {READER}")
