-- What a migration needs to be proven: what ran (content, statements, failures), what the schema
-- looked like afterwards, what a rollback took away, and how long locks were held.
ALTER TABLE headway.migration_run
    ADD COLUMN outcome text NOT NULL DEFAULT 'done' CHECK (outcome IN ('done', 'failed')),
    ADD COLUMN script_checksum text,
    ADD COLUMN sql_checksum text,
    ADD COLUMN upgrade_sql text,
    ADD COLUMN downgrade_sql text,
    ADD COLUMN source text,
    ADD COLUMN renderer text,
    ADD COLUMN statement text,
    ADD COLUMN sqlstate text,
    ADD COLUMN message text,
    ADD COLUMN chain_hash text;
-- adopt: recorded as applied, because its change was there. cosmetic: its file was reformatted.
ALTER TABLE headway.migration_run
    DROP CONSTRAINT migration_run_direction_check,
    ADD CONSTRAINT migration_run_direction_check
        CHECK (direction IN ('upgrade', 'downgrade', 'stamp', 'adopt', 'cosmetic'));

-- Each row hashes itself and the row before, so a changed or missing row shows.
CREATE FUNCTION headway.hash_migration_run(before_hash text, this headway.migration_run)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    this.chain_hash := NULL; -- and without what is null, so that a column may be added later
    RETURN encode(sha256(convert_to(
        coalesce(before_hash, '') || jsonb_strip_nulls(to_jsonb(this))::text, 'UTF8')), 'hex');
END $$;

CREATE FUNCTION headway.chain_migration_run() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310842303); -- one row after the other
    NEW.chain_hash := headway.hash_migration_run(
        (SELECT chain_hash FROM headway.migration_run ORDER BY id DESC LIMIT 1), NEW);
    RETURN NEW;
END $$;
CREATE TRIGGER migration_run_is_chained
    BEFORE INSERT ON headway.migration_run
    FOR EACH ROW EXECUTE FUNCTION headway.chain_migration_run();

-- What the schema looked like at these heads; the newest row is what is expected of it.
CREATE TABLE headway.schema_fingerprint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    heads text[] NOT NULL,
    hash text NOT NULL,
    document jsonb NOT NULL,
    origin text NOT NULL CHECK (origin IN ('migrated', 'verified', 'adopted', 'reverted')),
    run_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_schema_fingerprint_heads ON headway.schema_fingerprint (heads, id);

-- Differences that somebody has agreed to; exactly these are not reported again.
CREATE TABLE headway.accepted_drift (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    object text NOT NULL,
    change text NOT NULL,
    attribute text,
    expected jsonb,
    actual jsonb,
    actor text NOT NULL,
    reason text NOT NULL,
    run_id uuid,
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a rollback took away, and where it lies in schema headway_archive.
CREATE SCHEMA headway_archive;
CREATE TABLE headway.archive (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    revision text NOT NULL,
    kind text NOT NULL,
    schema_name text,
    table_name text,
    column_names text[] NOT NULL DEFAULT '{}',
    key_columns text[] NOT NULL DEFAULT '{}',
    archived_in text,
    row_count bigint,
    checksum text,
    document jsonb NOT NULL DEFAULT '{}',
    is_complete boolean NOT NULL DEFAULT false,
    run_id uuid,
    archived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored_at timestamptz,
    restored jsonb
);
CREATE INDEX idx_archive_revision ON headway.archive (revision, id);

-- Statements of a revision that commits while it runs: which of them are done.
CREATE TABLE headway.migration_statement (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    revision text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade')),
    position integer NOT NULL,
    statement_hash text NOT NULL,
    statement text NOT NULL,
    state text NOT NULL CHECK (state IN ('started', 'done', 'failed')),
    sqlstate text,
    run_id uuid,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE INDEX idx_migration_statement_revision ON headway.migration_statement (revision, id);

-- Who holds the migration lock counts it up; a holder that finds another number has lost it.
CREATE TABLE headway.migration_fence (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    token bigint NOT NULL DEFAULT 0
);
INSERT INTO headway.migration_fence DEFAULT VALUES;

-- How long a revision was predicted to lock a table, and how long it did.
CREATE TABLE headway.lock_time (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid,
    environment text NOT NULL,
    revision text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade')),
    relation text NOT NULL,
    mode text NOT NULL,
    predicted_ms double precision,
    actual_ms double precision,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idx_lock_time_revision ON headway.lock_time (environment, revision, id);
