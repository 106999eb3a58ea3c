-- name: tables_exist
-- Does this database remember fingerprints?
SELECT to_regclass('headway.schema_fingerprint') IS NOT NULL;

-- name: newest_fingerprint
-- What the schema looked like when it was last known to be right at these heads.
SELECT id, hash, document, origin
FROM headway.schema_fingerprint
WHERE heads = CAST(:heads AS text[])
ORDER BY id DESC
LIMIT 1;

-- name: record_fingerprint
-- What is expected at these heads from now on.
INSERT INTO headway.schema_fingerprint (heads, hash, document, origin, run_id)
VALUES (CAST(:heads AS text[]), :hash, CAST(:document AS jsonb), :origin, CAST(:run_id AS uuid))
RETURNING id;

-- name: half_done_statements
-- What was sent of revisions that commit on their way and have not come to their end since.
SELECT s.revision, s.statement
FROM headway.migration_statement AS s
WHERE s.started_at > coalesce((
    SELECT max(r.finished_at) FROM headway.migration_run AS r
    WHERE r.revision = s.revision AND r.outcome = 'done'
), '-infinity')
ORDER BY s.id;

-- name: accepted_drift
-- Differences that somebody has agreed to.
SELECT object, change, attribute, expected, actual
FROM headway.accepted_drift
ORDER BY id;

-- name: accept_drift
-- Agree to one difference.
INSERT INTO headway.accepted_drift
    (object, change, attribute, expected, actual, actor, reason, run_id)
VALUES (:object, :change, :attribute, CAST(:expected AS jsonb), CAST(:actual AS jsonb),
        :actor, :reason, CAST(:run_id AS uuid));
