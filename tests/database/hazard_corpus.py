"""Revisions as the runner would send them, labelled: dangerous, harmless, or a matter of context.

A script starts in the runner's transaction, `COMMIT; …; BEGIN` is an autocommit block, and a line
of `---` parts the revisions of a plan. The situations are those of the public benches.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A script, and the hazards that must be named (or, in context, decided)."""

    name: str
    codes: tuple[str, ...]
    sql: str


def _case(name: str, codes: str, sql: str) -> Case:
    return Case(name, tuple(codes.split()), sql)


UNSAFE = [
    _case("plain index", "index-not-concurrent", "CREATE INDEX by_depot ON parcels (depot_id)"),
    _case(
        "plain index with its timeouts",
        "index-not-concurrent",
        "SET lock_timeout = '1s'; SET statement_timeout = '20s'; "
        "CREATE UNIQUE INDEX by_code ON app.parcels USING btree (lower(code), sent_at DESC)",
    ),
    _case(
        "timeout switched off",
        "no-lock-timeout",
        "SET lock_timeout TO '0s'; ALTER TABLE drivers ADD COLUMN born integer",
    ),
    _case("required now", "set-not-null", "ALTER TABLE parcels ALTER depot_id SET NOT NULL"),
    _case(
        "checked now",
        "check-without-not-valid",
        "ALTER TABLE ONLY parcels ADD CONSTRAINT heavy CHECK (weight > 0 AND note <> 'NOT VALID')",
    ),
    _case(
        "a value for each row",
        "volatile-default",
        "ALTER TABLE parcels ADD COLUMN token uuid DEFAULT gen_random_uuid() NOT NULL",
    ),
    _case(
        "computed and stored",
        "stored-generated-column",
        "ALTER TABLE parcels ADD volume int GENERATED ALWAYS AS (width * height * depth) STORED",
    ),
    _case("wider numbers", "type-change", "ALTER TABLE scans ALTER COLUMN id TYPE bigint"),
    _case(
        "foreign key now",
        "foreign-key-without-not-valid",
        "ALTER TABLE parcels ADD FOREIGN KEY (driver_id) REFERENCES drivers (id) ON DELETE CASCADE",
    ),
    _case(
        "unique now",
        "unique-by-build",
        'ALTER TABLE "drivers" ADD CONSTRAINT "one licence" UNIQUE (licence)',
    ),
    _case(
        "enum value used at once",
        "enum-value-used-in-transaction",
        "ALTER TYPE state ADD VALUE 'lost' AFTER 'sent'; "
        "ALTER TABLE parcels ALTER COLUMN state SET DEFAULT 'lost'",
    ),
    _case(
        "concurrently in the transaction",
        "concurrently-in-transaction",
        "CREATE INDEX CONCURRENTLY by_depot ON parcels (depot_id)",
    ),
    _case(
        "an invalid index counts as there",
        "concurrently-if-not-exists",
        "COMMIT; CREATE INDEX CONCURRENTLY IF NOT EXISTS by_code ON parcels (code); BEGIN",
    ),
    _case("column goes", "drop-column", "ALTER TABLE drivers DROP IF EXISTS fax"),
    _case(
        "table goes with who knows what", "drop-cascade drop-table", "DROP TABLE parcels CASCADE"
    ),
    _case("column renamed", "rename-column", "ALTER TABLE drivers RENAME mail TO address"),
    _case("table renamed", "rename-table", "ALTER TABLE IF EXISTS bills RENAME TO invoices"),
    _case(
        "column and its values",
        "ddl-with-backfill update-without-where unbatched-backfill",
        "ALTER TABLE parcels ADD COLUMN zone text; UPDATE parcels SET zone = zone_of(postcode)",
    ),
    _case("key goes", "drop-primary-key", "ALTER TABLE parcels DROP CONSTRAINT parcels_pkey"),
    _case(
        "unchecked load",
        "triggers-disabled",
        "ALTER TABLE parcels DISABLE TRIGGER ALL; COPY parcels FROM '/load.csv'; "
        "ALTER TABLE parcels ENABLE TRIGGER ALL",
    ),
    _case(
        "all rows at once",
        "unbatched-backfill update-without-where",
        "UPDATE ONLY parcels SET zone = zone_of(postcode)",
    ),
    _case("partition goes", "detach-partition", "ALTER TABLE scans DETACH PARTITION scans_may"),
    _case(
        "partition comes",
        "attach-partition-unvalidated",
        "ALTER TABLE scans ATTACH PARTITION scans_june FOR VALUES FROM ('2026-06-01') "
        "TO ('2026-07-01')",
    ),
    _case(
        "three tables",
        "several-tables-locked index-not-concurrent",
        "ALTER TABLE drivers ADD a text; ALTER TABLE parcels ADD b text; "
        "ALTER TABLE bills ADD c text; CREATE INDEX by_b ON parcels (b)",
    ),
    _case("table packed", "vacuum-full", "COMMIT; VACUUM (FULL, ANALYZE) parcels; BEGIN"),
    _case("table emptied", "truncate", "TRUNCATE TABLE sessions, carts CASCADE"),
    _case(
        "external number",
        "volatile-default index-not-concurrent",
        "ALTER TABLE drivers ADD COLUMN prefs jsonb NOT NULL DEFAULT '{}'::jsonb; "
        "ALTER TABLE drivers ADD COLUMN public_id uuid NOT NULL DEFAULT uuid_generate_v4(); "
        "CREATE INDEX IF NOT EXISTS by_public ON drivers (public_id); "
        "INSERT INTO notes (title) VALUES ('drivers have preferences now')",
    ),
    _case(
        "state and its rows",
        "enum-value-used-in-transaction unbatched-backfill",
        "ALTER TYPE state ADD VALUE IF NOT EXISTS 'returned'; "
        "UPDATE parcels SET state = 'returned' WHERE returned_at IS NOT NULL; "
        "CREATE INDEX returned ON parcels (returned_at) WHERE state = 'returned'",
    ),
    _case(
        "tenants everywhere",
        "several-tables-locked foreign-key-without-not-valid index-not-concurrent",
        "CREATE TABLE tenants (id bigint PRIMARY KEY, slug text NOT NULL UNIQUE); "
        "ALTER TABLE drivers ADD tenant_id bigint; ALTER TABLE parcels ADD tenant_id bigint; "
        "ALTER TABLE drivers ADD CONSTRAINT of_tenant FOREIGN KEY (tenant_id) "
        "REFERENCES tenants (id); CREATE INDEX by_tenant ON parcels (tenant_id)",
    ),
    _case(
        "flag, values and constraint",
        "ddl-with-backfill unbatched-backfill set-not-null",
        "ALTER TABLE papers ADD COLUMN is_old boolean DEFAULT false; "
        "UPDATE papers SET is_old = true WHERE closed; "
        "ALTER TABLE papers ALTER COLUMN is_old SET NOT NULL",
    ),
    _case(
        "month of its own",
        "attach-partition-unvalidated index-not-concurrent",
        "CREATE TABLE scans_july (LIKE scans INCLUDING DEFAULTS); "
        "INSERT INTO scans_july SELECT * FROM scans_rest WHERE at >= '2026-07-01'; "
        "ALTER TABLE scans ATTACH PARTITION scans_july FOR VALUES FROM ('2026-07-01') "
        "TO ('2026-08-01'); CREATE INDEX july_by_at ON scans_july (at)",
    ),
    _case(
        "out of numbers",
        "type-change drop-primary-key index-not-concurrent unique-by-build",
        "ALTER TABLE bills ALTER id TYPE bigint, ALTER parcel_id TYPE bigint; "
        "ALTER TABLE bills DROP CONSTRAINT bills_pkey; "
        "ALTER TABLE bills ADD CONSTRAINT bills_pkey PRIMARY KEY (id); "
        "DROP INDEX IF EXISTS bills_by_parcel; CREATE INDEX bills_by_parcel ON bills (parcel_id)",
    ),
    _case(
        "clearing up",
        "drop-cascade drop-column rename-column",
        "DROP TABLE IF EXISTS old_carts CASCADE; ALTER TABLE drivers DROP COLUMN fax; "
        "ALTER TABLE drivers RENAME COLUMN came_by TO source",
    ),
]

SAFE = [
    _case(
        "index beside the traffic",
        "",
        "COMMIT; DROP INDEX CONCURRENTLY IF EXISTS by_depot; "
        "CREATE INDEX CONCURRENTLY by_depot ON parcels (depot_id); BEGIN",
    ),
    _case(
        "required by way of a check",
        "",
        """ALTER TABLE parcels ADD CONSTRAINT has_depot CHECK (depot_id IS NOT NULL) NOT VALID
        ---
        ALTER TABLE parcels VALIDATE CONSTRAINT has_depot
        ---
        ALTER TABLE parcels ALTER COLUMN depot_id SET NOT NULL
        ---
        ALTER TABLE parcels DROP CONSTRAINT has_depot""",
    ),
    _case(
        "required, as of Postgres 18",
        "",
        "ALTER TABLE parcels ADD CONSTRAINT has_depot NOT NULL depot_id NOT VALID\n---\n"
        "ALTER TABLE parcels VALIDATE CONSTRAINT has_depot",
    ),
    _case("constant default", "", "ALTER TABLE parcels ADD state text DEFAULT 'new' NOT NULL"),
    _case(
        "foreign key in two steps",
        "",
        "ALTER TABLE parcels ADD CONSTRAINT of_driver FOREIGN KEY (driver_id) "
        "REFERENCES drivers (id) NOT VALID\n---\n"
        "ALTER TABLE parcels VALIDATE CONSTRAINT of_driver",
    ),
    _case(
        "unique by its index",
        "",
        """COMMIT; CREATE UNIQUE INDEX CONCURRENTLY one_licence ON drivers (licence); BEGIN
        ---
        ALTER TABLE drivers ADD CONSTRAINT one_licence UNIQUE USING INDEX one_licence""",
    ),
    _case("enum value alone", "", "COMMIT; ALTER TYPE state ADD VALUE 'lost' AFTER 'sent'; BEGIN"),
    _case(
        "one batch",
        "",
        "UPDATE parcels SET zone = zone_of(postcode) WHERE id IN "
        "(SELECT id FROM parcels WHERE zone IS NULL ORDER BY id LIMIT 2000)",
    ),
    _case(
        "second name, kept in step",
        "",
        "ALTER TABLE drivers ADD COLUMN address text; "
        "CREATE FUNCTION keep_address() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.address := NEW.mail; UPDATE seen SET n = n + 1; RETURN NEW; END $$; "
        "CREATE TRIGGER keep_address BEFORE INSERT OR UPDATE ON drivers "
        "FOR EACH ROW EXECUTE FUNCTION keep_address()",
    ),
    _case(
        "second number, kept in step",
        "",
        """ALTER TABLE scans ADD COLUMN new_id bigint;
        CREATE FUNCTION keep_id() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.new_id := NEW.id; RETURN NEW; END';
        CREATE TRIGGER keep_id BEFORE INSERT OR UPDATE ON scans
        FOR EACH ROW EXECUTE FUNCTION keep_id()
        ---
        COMMIT; DROP INDEX CONCURRENTLY IF EXISTS scans_new_key;
        CREATE UNIQUE INDEX CONCURRENTLY scans_new_key ON scans (new_id); BEGIN""",
    ),
    _case(
        "check in two steps",
        "",
        "ALTER TABLE parcels ADD CONSTRAINT heavy CHECK (weight > 0) NOT VALID\n---\n"
        "ALTER TABLE parcels VALIDATE CONSTRAINT heavy",
    ),
    _case(
        "partition goes, gently",
        "",
        "COMMIT; ALTER TABLE scans DETACH PARTITION scans_may CONCURRENTLY; BEGIN",
    ),
    _case("two columns at once", "", "ALTER TABLE parcels ADD a text, ADD COLUMN b jsonb"),
    _case(
        "new table with all that belongs to it",
        "",
        "CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "driver_id bigint NOT NULL REFERENCES drivers (id), payload jsonb NOT NULL, "
        "at timestamptz NOT NULL DEFAULT now()); CREATE INDEX calls_by_at ON calls (at DESC); "
        "ALTER TABLE calls ADD CONSTRAINT one UNIQUE (driver_id, at); GRANT SELECT ON calls TO app",
    ),
    _case("index goes, gently", "", "COMMIT; DROP INDEX CONCURRENTLY IF EXISTS by_fax; BEGIN"),
    _case("nullable column", "", "ALTER TABLE drivers ADD COLUMN seen_at timestamptz"),
    _case(
        "all of it, done right",
        "",
        """ALTER TABLE depots ADD COLUMN slug text
        ---
        UPDATE depots SET slug = lower(regexp_replace(name, '[^a-z]+', '-', 'g')) WHERE id IN
        (SELECT id FROM depots WHERE slug IS NULL ORDER BY id LIMIT 500)
        ---
        ALTER TABLE depots ADD CONSTRAINT has_slug CHECK (slug IS NOT NULL) NOT VALID
        ---
        ALTER TABLE depots VALIDATE CONSTRAINT has_slug
        ---
        COMMIT; DROP INDEX CONCURRENTLY IF EXISTS depots_slug;
        CREATE UNIQUE INDEX CONCURRENTLY depots_slug ON depots (slug); BEGIN""",
    ),
]

# Alike in form to what is dangerous; `small_…` and `big_…` hold few and many rows.
CONTEXT = [
    _case("index", "index-not-concurrent", "CREATE INDEX by_name ON {size}_t (name)"),
    _case("required", "set-not-null", "ALTER TABLE {size}_t ALTER COLUMN name SET NOT NULL"),
    _case("longer text", "type-change", "ALTER TABLE {size}_t ALTER COLUMN {column} TYPE {type}"),
    _case("values", "unbatched-backfill", "UPDATE {size}_t SET note = 'x' WHERE note IS NULL"),
    _case("unused column", "drop-column", "ALTER TABLE {size}_t DROP COLUMN {dropped}"),
    _case(
        "foreign key",
        "foreign-key-without-not-valid",
        "ALTER TABLE {size}_t ADD FOREIGN KEY (other) REFERENCES others (id)",
    ),
]
