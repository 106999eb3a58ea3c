-- name: lock_content
-- Two runs that load the same file take turns.
SELECT pg_advisory_xact_lock(hashtextextended('ingest:' || CAST(:sha256 AS text), 0));

-- name: find_batch
-- The counts of a batch that was loaded before, by whatever run; whether it is worth another try.
SELECT run_id::text AS run_id, assignment_count, event_count, duplicate_count, rejected_count,
       rejected_count > 0 AND EXISTS (
           SELECT FROM rejected_row r
           WHERE r.content_sha256 = :sha256 AND r.experiment_name = :experiment
             AND r.reason_code IN ('unknown-experiment', 'unknown-variant', 'unassigned-user',
                                   'future-timestamp')
       ) AS may_fit_now
FROM ingest_batch
WHERE content_sha256 = :sha256 AND experiment_name = :experiment
  AND first_row = :first_row AND row_count = :row_count;

-- name: create_incoming
-- The rows of one batch, before they are known to fit.
CREATE TEMPORARY TABLE incoming_row (
    line_number bigint NOT NULL,
    raw jsonb NOT NULL,
    kind text,
    experiment text,
    variant text,
    user_id text,
    session_id text,
    moment timestamptz,
    bucket_value double precision,
    event_type text,
    event_value double precision,
    event_id text,
    source text,
    details jsonb,
    session_context jsonb,
    reason_code text,
    message text,
    experiment_id uuid,
    variant_id uuid,
    assignment_id uuid,
    assigned_at timestamptz
) ON COMMIT DROP;

-- name: resolve_incoming
-- Names to ids.
UPDATE incoming_row r
SET experiment_id = known.experiment_id, variant_id = known.variant_id
FROM (
    SELECT named.experiment, named.variant, e.id AS experiment_id, v.id AS variant_id
    FROM (SELECT DISTINCT experiment, variant FROM incoming_row WHERE reason_code IS NULL) named
    JOIN ab_experiments e ON e.experiment_name = named.experiment
    LEFT JOIN ab_variants v ON v.experiment_id = e.id AND v.variant_name = named.variant
) known
WHERE r.reason_code IS NULL AND r.experiment = known.experiment
  AND r.variant IS NOT DISTINCT FROM known.variant;

-- name: reject_unknown
-- Rows that name what does not exist, or a time that has not come.
UPDATE incoming_row
SET reason_code = CASE WHEN experiment_id IS NULL THEN 'unknown-experiment'
                       WHEN variant IS NOT NULL AND variant_id IS NULL THEN 'unknown-variant'
                       ELSE 'future-timestamp' END,
    message = CASE
        WHEN experiment_id IS NULL THEN format('no experiment is called %L', experiment)
        WHEN variant IS NOT NULL AND variant_id IS NULL
            THEN format('experiment %L has no variant %L', experiment, variant)
        ELSE format('%s lies in the future', moment) END
WHERE reason_code IS NULL
  AND (experiment_id IS NULL OR (variant IS NOT NULL AND variant_id IS NULL)
       OR moment > headway.clock_now() + interval '5 minutes');

-- name: insert_assignments
-- The first assignment of a unit stands; later ones change nothing.
INSERT INTO ab_assignments (
    experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata
)
SELECT DISTINCT ON (experiment_id, user_id)
       experiment_id, variant_id, user_id, session_id, moment, bucket_value, details
FROM incoming_row
WHERE kind = 'assignment' AND reason_code IS NULL
ORDER BY experiment_id, user_id, line_number
ON CONFLICT (experiment_id, user_id) DO NOTHING;

-- name: reject_conflicting_assignments
-- A unit that already has another arm keeps it.
UPDATE incoming_row r
SET reason_code = 'conflicting-assignment',
    message = format('%L is already assigned to %L, not %L', r.user_id, v.variant_name, r.variant)
FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id
WHERE r.kind = 'assignment' AND r.reason_code IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id
  AND a.variant_id <> r.variant_id;

-- name: match_events
-- Events to the assignment of their unit.
UPDATE incoming_row r
SET assignment_id = a.id, assigned_at = a.assigned_at,
    reason_code = CASE WHEN a.variant_id <> r.variant_id THEN 'variant-mismatch'
                       WHEN r.moment < a.assigned_at THEN 'before-assignment' END,
    message = CASE WHEN a.variant_id <> r.variant_id
                       THEN format('%L is not assigned to %L', r.user_id, r.variant)
                   WHEN r.moment < a.assigned_at
                       THEN format('it happened before %L was assigned', r.user_id) END,
    variant_id = a.variant_id
FROM ab_assignments a
WHERE r.kind = 'event' AND r.reason_code IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id;

-- name: reject_unassigned
-- Events of units that nobody assigned.
UPDATE incoming_row
SET reason_code = 'unassigned-user',
    message = format('%L is not assigned in experiment %L', user_id, experiment)
WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NULL;

-- name: insert_events
-- Events, each once: one that is known by its event_id is passed over.
INSERT INTO ab_metrics (
    experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
    event_timestamp, source, session_context, event_id
)
SELECT experiment_id, variant_id, assignment_id, event_type, event_value, details,
       moment, source, session_context, event_id
FROM incoming_row
WHERE kind = 'event' AND reason_code IS NULL
ORDER BY line_number
ON CONFLICT (experiment_id, event_id) DO NOTHING;

-- name: mark_converted
-- A unit converts with its first event of the experiment's primary metric.
UPDATE ab_assignments a
SET has_converted = true, converted_at = first_event.moment
FROM (
    SELECT r.assignment_id, min(e.event_timestamp) AS moment
    FROM incoming_row r
    -- The event as it is kept: a row with an event_id that was known may say something else.
    JOIN ab_metrics e ON e.experiment_id = r.experiment_id AND e.event_id = r.event_id
                     AND e.assignment_id = r.assignment_id
    JOIN experiment_metric em ON em.experiment_id = r.experiment_id AND em.role = 'primary'
    JOIN metric m ON m.id = em.metric_id AND m.event_type = e.event_type
    WHERE r.kind = 'event' AND r.reason_code IS NULL
    GROUP BY r.assignment_id
) first_event
WHERE a.id = first_event.assignment_id
  AND (NOT a.has_converted OR first_event.moment < a.converted_at);

-- name: count_incoming
-- Rows that were good, by kind, and all rows.
SELECT count(*) FILTER (WHERE kind = 'assignment' AND reason_code IS NULL) AS assignments,
       count(*) FILTER (WHERE kind = 'event' AND reason_code IS NULL) AS events
FROM incoming_row;

-- name: record_batch
-- One batch, loaded.
INSERT INTO ingest_batch (
    source, content_sha256, experiment_name, batch_number, first_row, row_count,
    assignment_count, event_count, duplicate_count, rejected_count, run_id, ingested_at
) VALUES (
    :source, :sha256, :experiment, :batch_number, :first_row, :row_count,
    :assignments, :events, :duplicates, :rejected, CAST(:run_id AS uuid), headway.clock_now()
) RETURNING id;

-- name: keep_rejected
-- Nothing is lost: rows that did not fit, with their reason; a line of a file once.
INSERT INTO rejected_row (
    ingest_batch_id, content_sha256, experiment_name, line_number, raw, reason_code, message,
    rejected_at
)
SELECT :batch_id, :sha256, :experiment, line_number, raw, reason_code, message,
       headway.clock_now()
FROM incoming_row WHERE reason_code IS NOT NULL
ON CONFLICT (content_sha256, experiment_name, line_number) DO NOTHING;

-- name: count_reasons
-- Why rows of a batch were rejected.
SELECT reason_code, count(*) AS rows FROM incoming_row
WHERE reason_code IS NOT NULL GROUP BY reason_code ORDER BY reason_code;
