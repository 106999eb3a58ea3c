-- name: newest_runs
-- The newest rows of the history.
SELECT id, revision, direction, outcome, actor, reason, run_id::text AS run_id, finished_at AS at,
       extract(epoch FROM finished_at - started_at)::float AS seconds,
       script_checksum, statement, sqlstate, message
FROM headway.migration_run
ORDER BY id DESC
LIMIT :limit;

-- name: runs_before_contents
-- The same from a history that was never brought up to date.
SELECT id, revision, direction, 'done' AS outcome, actor, reason, run_id::text AS run_id,
       finished_at AS at, extract(epoch FROM finished_at - started_at)::float AS seconds,
       NULL AS script_checksum, NULL AS statement, NULL AS sqlstate, NULL AS message
FROM headway.migration_run
ORDER BY id DESC
LIMIT :limit;

-- name: refusals
-- The newest refusals to migrate an environment.
SELECT id, subject, rule, reasons, details, inputs ->> 'direction' AS direction, actor, reason,
       run_id::text AS run_id, decided_at AS at
FROM headway.decision
WHERE verdict = 'refused'
    AND (subject = :subject OR starts_with(subject, :subject || ':'))
ORDER BY id DESC
LIMIT :limit;

-- name: broken_links
-- Rows that do not hash with the row before them. Two sessions may have got their numbers in the
-- other order than they were chained, so a few neighbours are tried too.
WITH numbered AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY id) AS place, r.id, r.revision, r.direction, r.chain_hash,
           lag(r.chain_hash) OVER (ORDER BY id) AS before_hash,
           r::headway.migration_run AS this
    FROM headway.migration_run AS r
),
suspect AS (
    SELECT * FROM numbered AS n
    WHERE n.place >= (SELECT min(place) FROM numbered WHERE chain_hash IS NOT NULL)
        AND (n.chain_hash IS NULL
             OR n.chain_hash <> headway.hash_migration_run(n.before_hash, n.this))
)
SELECT s.id, s.revision, s.direction, s.chain_hash IS NULL AS is_unchained
FROM suspect AS s
WHERE s.chain_hash IS NULL
    OR NOT EXISTS (
        SELECT FROM numbered AS n
        WHERE n.place BETWEEN s.place - 4 AND s.place + 4 AND n.place <> s.place
            AND n.chain_hash IS NOT NULL
            AND s.chain_hash = headway.hash_migration_run(n.chain_hash, s.this)
    )
ORDER BY s.id;
