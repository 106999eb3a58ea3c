-- name: last_evidence
-- What the last look at an experiment was given, and whether it tested anything.
SELECT id, decided_at, inputs, COALESCE((details -> 'is_usable')::boolean, true) AS is_usable,
       COALESCE(reasons -> 0 ->> 'message', verdict) AS sentence
FROM headway.decision
WHERE subject = 'experiment:' || CAST(:name AS text) AND rule = 'experiment-winner'
ORDER BY id DESC
LIMIT 1;
