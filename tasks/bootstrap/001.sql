-- The ledger: what was done (step, effect), what failed (step_attempt), what was decided
-- (decision), which revisions ran (migration_run), and by which run (run).
CREATE SCHEMA IF NOT EXISTS headway;

CREATE TABLE headway.bootstrap_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row. The offset is for tests and demonstrations; elsewhere it is refused.
CREATE TABLE headway.clock (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    clock_offset interval NOT NULL DEFAULT '0',
    is_adjustable boolean NOT NULL DEFAULT false,
    CHECK (is_adjustable OR clock_offset = '0')
);
INSERT INTO headway.clock DEFAULT VALUES;

CREATE FUNCTION headway.clock_now() RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$ SELECT now() + (SELECT clock_offset FROM headway.clock) $$;

CREATE FUNCTION headway.shift_clock(by_interval interval) RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    UPDATE headway.clock SET clock_offset = clock_offset + by_interval WHERE is_adjustable;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the clock of this database may not be shifted'
            USING HINT = 'only databases made for tests, the demo or unprotected local use allow it';
    END IF;
    RETURN headway.clock_now();
END $$;
REVOKE EXECUTE ON FUNCTION headway.shift_clock(interval) FROM PUBLIC;

CREATE TYPE headway.run_mode AS ENUM ('prefect', 'ledger');
CREATE TYPE headway.run_state AS ENUM ('running', 'completed', 'refused', 'failed');

CREATE TABLE headway.run (
    id uuid PRIMARY KEY,
    flow text NOT NULL,
    entrypoint text NOT NULL,
    mode headway.run_mode NOT NULL,
    parameters jsonb NOT NULL,
    actor text,
    reason text,
    state headway.run_state NOT NULL DEFAULT 'running',
    message text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX idx_run_started_at ON headway.run (started_at);

CREATE TYPE headway.step_scope AS ENUM ('run', 'once');

CREATE TABLE headway.step (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope headway.step_scope NOT NULL,
    run_id uuid NOT NULL,
    name text NOT NULL,
    business_key text NOT NULL,
    key text NOT NULL,
    inputs jsonb NOT NULL,
    output jsonb NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT uq_step_key UNIQUE (key)
);
CREATE INDEX idx_step_run_id ON headway.step (run_id);
CREATE INDEX idx_step_finished_at ON headway.step (finished_at);

-- Failed attempts, each written in a transaction of its own.
CREATE TABLE headway.step_attempt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    run_id uuid NOT NULL,
    name text NOT NULL,
    business_key text NOT NULL,
    attempt integer NOT NULL,
    error_type text NOT NULL,
    error_message text NOT NULL,
    is_retryable boolean NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_step_attempt_run_id ON headway.step_attempt (run_id);
CREATE INDEX idx_step_attempt_failed_at ON headway.step_attempt (failed_at);

-- Effects outside the step's transaction: the intent before, the outcome after.
CREATE TABLE headway.effect (
    key text PRIMARY KEY,
    step_key text NOT NULL,
    name text NOT NULL,
    intent jsonb NOT NULL,
    outcome jsonb,
    intended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    CHECK ((done_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX idx_effect_done_at ON headway.effect (done_at);

CREATE TABLE headway.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    rule_version integer NOT NULL,
    subject text NOT NULL,
    verdict text NOT NULL,
    reasons jsonb NOT NULL,
    details jsonb NOT NULL,
    inputs jsonb NOT NULL,
    run_id uuid,
    actor text,
    reason text,
    decided_at timestamptz NOT NULL DEFAULT headway.clock_now(),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_decision_subject ON headway.decision (subject, id);

-- One row per revision that ran, written in the transaction of its DDL.
CREATE TABLE headway.migration_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    revision text NOT NULL,
    down_revision text,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade', 'stamp')),
    content_checksum text,
    run_id uuid,
    actor text,
    reason text,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_migration_run_revision ON headway.migration_run (revision, id);

CREATE FUNCTION headway.refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the table is append-only',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END $$;

CREATE TRIGGER decision_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON headway.decision
    FOR EACH STATEMENT EXECUTE FUNCTION headway.refuse_change();
CREATE TRIGGER migration_run_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON headway.migration_run
    FOR EACH STATEMENT EXECUTE FUNCTION headway.refuse_change();
