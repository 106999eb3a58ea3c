-- Everything that a copy could get wrong, in one schema.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE pair AS (a int, b text);
CREATE SEQUENCE free_seq START 40 INCREMENT 3;
SELECT nextval('free_seq');
CREATE SCHEMA "Odd ""Schema""";
CREATE TABLE "Odd ""Schema"""."Sélect %s :x" (
    "Ord er" int PRIMARY KEY, "q""uote" text, m mood DEFAULT 'ok', p positive, c pair,
    twice int GENERATED ALWAYS AS ("Ord er" * 2) STORED, r int4range, mr int4multirange,
    j json, jb jsonb, by bytea, iv interval, tz timestamptz, f4 real, f8 float8, n numeric,
    money money, net inet, arr text[], cls regclass, bits varbit, ts tsvector, u uuid);
INSERT INTO "Odd ""Schema"""."Sélect %s :x" ("Ord er", "q""uote", m, p, c, r, mr, j, jb, by, iv,
    tz, f4, f8, n, money, net, arr, cls, bits, ts, u)
SELECT i, E'tab\t nl\n \\N \\. é' || i, 'happy', i, (i, NULL)::pair, int4range(i, NULL), '{[1,3)}',
    '{"b":1, "a" : 2}', '{"k": "\u00e9"}', '\xdeadbeef', '1 mon -3 days 04:05:06.789',
    '2020-03-29 01:30:00.123456+00', 0.1, 'NaN', 'Infinity', 12.34, '10.0.0.0/8',
    ARRAY['a', NULL, '{"x"}'], 'pg_class', B'101', to_tsvector('simple', 'a b'),
    md5(i::text)::uuid FROM generate_series(1, 20) AS i;
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE,
    boss bigint REFERENCES parent);
INSERT INTO parent (name, boss) SELECT 'p' || i, nullif(i - 1, 0) FROM generate_series(1, 300) i;
CREATE TABLE part (k int, region text, pid bigint, PRIMARY KEY (k, region)) PARTITION BY LIST (region);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF part FOR VALUES IN ('b') PARTITION BY RANGE (k);
CREATE TABLE part_b1 PARTITION OF part_b DEFAULT;
INSERT INTO part SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, i FROM generate_series(1, 300) i;
ALTER TABLE part ADD FOREIGN KEY (pid) REFERENCES parent;
CREATE TABLE leaf (id serial PRIMARY KEY, k int, region text, other int,
    FOREIGN KEY (k, region) REFERENCES part);
INSERT INTO leaf (k, region, other) SELECT 301 - i, CASE WHEN i % 2 = 1 THEN 'a' ELSE 'b' END, i
    FROM generate_series(1, 300) i;
CREATE TABLE egg (id int PRIMARY KEY, hen int);
CREATE TABLE hen (id int PRIMARY KEY, egg int REFERENCES egg);
INSERT INTO egg SELECT i, i % 300 + 1 FROM generate_series(1, 300) i;
INSERT INTO hen SELECT i, i FROM generate_series(1, 300) i;
ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE orphan (pid bigint);
INSERT INTO orphan VALUES (1), (999);
ALTER TABLE orphan ADD FOREIGN KEY (pid) REFERENCES parent NOT VALID;
CREATE TABLE person (id int PRIMARY KEY, email varchar(40) NOT NULL UNIQUE, phone text, age int,
    code varchar(4));
INSERT INTO person SELECT i, 'u' || i || '@example.com', '555' || i, i % 7, 'c' || i % 3
    FROM generate_series(1, 50) i;
CREATE TABLE nothing ();
CREATE UNLOGGED TABLE fast (i int);
INSERT INTO fast VALUES (1);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM parent;
CREATE MATERIALIZED VIEW counted_twice AS SELECT n * 2 AS n FROM counted;
CREATE MATERIALIZED VIEW never AS SELECT 1 AS one WITH NO DATA;
CREATE VIEW aaa AS SELECT n FROM counted;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE 'a trigger fires while rows are loaded'; END$$;
CREATE TRIGGER never_on_load BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
ALTER TABLE person FORCE ROW LEVEL SECURITY;
CREATE POLICY none_for_you ON person USING (false);
COMMENT ON COLUMN parent.name IS 'a name';
CREATE TABLE alembic_version (version_num varchar(32) NOT NULL);
INSERT INTO alembic_version VALUES ('r1');
