-- name: has_tables
-- Whether this database has experiments at all: the ledger is there before them, and after them.
SELECT to_regclass('waiting_event') IS NOT NULL AND to_regclass('touched_unit') IS NOT NULL;

-- name: reject_unassigned
-- Events whose unit nobody assigned in all this time: kept as rejected rows, in one batch. Who has
-- an assignment by now is about to be released.
WITH expired AS (
    DELETE FROM waiting_event w
    WHERE w.received_at < headway.clock_now() - make_interval(days => :days)
      AND NOT EXISTS (
          SELECT FROM ab_assignments a
          WHERE a.experiment_id = w.experiment_id AND a.user_id = w.user_id
      )
    RETURNING w.*
), batch AS (
    INSERT INTO ingest_batch (
        source, content_sha256, batch_number, first_row, row_count, assignment_count, event_count,
        duplicate_count, rejected_count, run_id, ingested_at
    )
    SELECT 'waiting_event', 'waiting', 0, min(id), count(*), 0, 0, 0, count(*),
           CAST(:run_id AS uuid), headway.clock_now()
    FROM expired HAVING count(*) > 0
    RETURNING id, ingested_at
)
INSERT INTO rejected_row (
    ingest_batch_id, content_sha256, line_number, raw, reason_code, message, rejected_at
)
SELECT b.id, 'waiting', w.id,
       to_jsonb(w) - 'experiment_id' || jsonb_build_object('experiment', e.experiment_name),
       'never-assigned',
       format('%L was not assigned in %L within %s days', w.user_id, e.experiment_name, :days),
       b.ingested_at
FROM batch b CROSS JOIN expired w JOIN ab_experiments e ON e.id = w.experiment_id;

-- name: find_unfolded
-- Experiments with touched units that no hourly or nightly fold takes: they neither run nor pause.
SELECT t.experiment_id::text
FROM (SELECT DISTINCT experiment_id FROM touched_unit) t
WHERE NOT EXISTS (
    SELECT FROM ab_experiments e
    WHERE e.id = t.experiment_id AND e.status IN ('active', 'paused')
);

-- name: forget_touched
-- Instead of the log of what changed in them, note that they are to be folded in full.
WITH forgotten AS (
    DELETE FROM touched_unit WHERE experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
    RETURNING experiment_id
), marked AS (
    UPDATE fold_state SET definition = ''
    WHERE experiment_id IN (SELECT experiment_id FROM forgotten)
)
SELECT count(*) FROM forgotten;
