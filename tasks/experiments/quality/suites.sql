-- name: last_check
-- What was found at the last validation; rows that were on their way then were an hour at most.
SELECT c.checked_at - interval '1 hour' AS since,
       c.fully_checked_at <= headway.clock_now() - interval '1 day'
           OR c.checked_at > headway.clock_now()
           OR c.findings -> 'failed' <> '[]' OR c.findings -> 'unknown' <> '[]' AS is_due,
       ARRAY(SELECT jsonb_object_keys(c.findings -> 'failed_in')) AS broken
FROM suite_check c
WHERE c.suite = :suite;

-- name: record_check
-- What was found now.
INSERT INTO suite_check (suite, checked_at, fully_checked_at, findings)
VALUES (:suite, headway.clock_now(), headway.clock_now(), CAST(:findings AS jsonb))
ON CONFLICT (suite) DO UPDATE
SET checked_at = EXCLUDED.checked_at, findings = EXCLUDED.findings,
    fully_checked_at = CASE WHEN :is_full THEN EXCLUDED.fully_checked_at
                            ELSE suite_check.fully_checked_at END;

-- name: recent_events
-- Events of the metrics of active experiments that came lately, and all events of some experiments.
SELECT m.*
FROM (
    SELECT DISTINCT em.experiment_id, k.event_type
    FROM experiment_metric em
    JOIN metric k ON k.id = em.metric_id
    JOIN ab_experiments e ON e.id = em.experiment_id AND e.status = 'active'
) t
JOIN ab_metrics m ON m.experiment_id = t.experiment_id AND m.event_type = t.event_type
                 AND m.created_at >= {since}
WHERE NOT COALESCE(m.experiment_id = ANY (ARRAY[{broken}]::uuid[]), false)
UNION ALL
SELECT m.* FROM ab_metrics m WHERE m.experiment_id IN ({broken});
