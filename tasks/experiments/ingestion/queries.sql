-- name: lock_content
-- Two runs that load the same content take turns.
SELECT pg_advisory_xact_lock(hashtextextended('ingest:' || CAST(:sha256 AS text), 0));

-- name: find_batch
-- The counts of a batch that was loaded before, by whatever run; whether it is worth another try.
SELECT id, run_id::text AS run_id, assignment_count, event_count, corrected_count, duplicate_count,
       waiting_count, rejected_count,
       rejected_count > 0 AND EXISTS (
           SELECT FROM rejected_row r
           WHERE r.content_sha256 = :sha256 AND r.experiment_name = :experiment
             AND r.reason_code = ANY(:retried)
       ) AS may_fit_now
FROM ingest_batch
WHERE content_sha256 = :sha256 AND experiment_name = :experiment
  AND first_row = :first_row AND row_count = :row_count;

-- name: overlaps_known
-- Were rows of this batch loaded before, in batches cut otherwise?
SELECT EXISTS (
    SELECT FROM ingest_batch
    WHERE content_sha256 = :sha256 AND experiment_name = :experiment
      AND first_row < CAST(:first_row AS bigint) + CAST(:row_count AS bigint)
      AND first_row + row_count > CAST(:first_row AS bigint)
);

-- name: drop_known
-- Rows that an earlier batch of this content settled change nothing, though they were corrected
-- since; those that were rejected for want of something are tried again.
DELETE FROM incoming_row i USING ingest_batch b
WHERE b.content_sha256 = :sha256 AND b.experiment_name = :experiment AND i.reason_code IS NULL
  AND i.row_number >= b.first_row AND i.row_number < b.first_row + b.row_count
  AND NOT EXISTS (
      SELECT FROM rejected_row r
      WHERE r.content_sha256 = :sha256 AND r.experiment_name = :experiment
        AND r.line_number = i.line_number AND r.reason_code = ANY(:retried)
  );

-- name: create_incoming
-- The rows of one batch, before they are known to fit.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_row (
    line_number bigint NOT NULL,
    row_number bigint,
    is_released boolean NOT NULL DEFAULT false, -- it waited for its assignment
    raw jsonb,
    kind text,
    experiment text,
    variant text,
    user_id text,
    session_id text,
    moment timestamptz,
    bucket_value double precision,
    epoch integer,
    is_override boolean,
    event_type text,
    event_value double precision,
    event_id text,
    has_id boolean NOT NULL DEFAULT true, -- else the source's content and its row stand for one
    source text,
    details jsonb,
    session_context jsonb,
    reason_code text,
    message text,
    experiment_id uuid,
    variant_id uuid,
    assignment_id uuid
) ON COMMIT DROP;

-- name: empty_incoming
-- Make room for the next batch of the same transaction.
TRUNCATE incoming_row;

-- name: resolve_incoming
-- Names to ids, events to the assignment of their unit; and rows that do not fit, or name a time
-- that has not come.
UPDATE incoming_row r
SET experiment_id = known.experiment_id, assignment_id = a.id,
    variant_id = COALESCE(a.variant_id, known.variant_id),
    reason_code = CASE
        WHEN known.experiment_id IS NULL THEN 'unknown-experiment'
        WHEN i.variant IS NOT NULL AND known.variant_id IS NULL THEN 'unknown-variant'
        WHEN i.moment > (SELECT headway.clock_now()) + interval '5 minutes' THEN 'future-timestamp'
        WHEN i.epoch IS NOT NULL AND NOT EXISTS (
            SELECT FROM allocation l
            WHERE l.experiment_id = known.experiment_id AND l.epoch = i.epoch
        ) THEN 'unknown-epoch'
        WHEN a.variant_id <> known.variant_id THEN 'variant-mismatch' END
FROM incoming_row i
JOIN (
    SELECT named.experiment, COALESCE(named.variant, '') AS variant, e.id AS experiment_id,
           v.id AS variant_id
    FROM (SELECT DISTINCT experiment, variant FROM incoming_row WHERE reason_code IS NULL) named
    LEFT JOIN ab_experiments e ON e.experiment_name = named.experiment
    LEFT JOIN ab_variants v ON v.experiment_id = e.id AND v.variant_name = named.variant
) known ON known.experiment = i.experiment AND known.variant = COALESCE(i.variant, '')
LEFT JOIN ab_assignments a
    ON i.kind = 'event' AND a.experiment_id = known.experiment_id AND a.user_id = i.user_id
WHERE i.ctid = r.ctid AND r.reason_code IS NULL;

-- name: insert_assignments
-- The first assignment of a unit stands; later ones change nothing.
WITH inserted AS (
    INSERT INTO ab_assignments (
        experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata,
        epoch, is_override
    )
    SELECT DISTINCT ON (experiment_id, user_id)
           experiment_id, variant_id, user_id, session_id, moment,
           COALESCE(bucket_value, bucket('experiment:' || experiment, user_id)),
           COALESCE(details, '{}'), epoch, COALESCE(is_override, false)
    FROM incoming_row
    WHERE kind = 'assignment' AND reason_code IS NULL
    ORDER BY experiment_id, user_id, line_number
    ON CONFLICT (experiment_id, user_id) DO NOTHING
    RETURNING experiment_id, id
), touched AS (
    INSERT INTO touched_unit (experiment_id, assignment_ids)
    SELECT experiment_id, array_agg(id) FROM inserted GROUP BY experiment_id
)
SELECT count(*) FROM inserted;

-- name: reject_conflicting_assignments
-- A unit that already has another arm keeps it.
UPDATE incoming_row r
SET reason_code = 'conflicting-assignment',
    message = format('%L is already assigned to %L, not %L', r.user_id, v.variant_name, r.variant)
FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id
WHERE r.kind = 'assignment' AND r.reason_code IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id
  AND a.variant_id <> r.variant_id;

-- name: take_waiting
-- Events that waited for an assignment that there is by now: of the batch's units, or of all.
WITH chosen AS (
    SELECT w.id
    FROM incoming_row r
    JOIN waiting_event w ON w.experiment_id = r.experiment_id AND w.user_id = r.user_id
    WHERE r.kind = 'assignment' AND r.reason_code IS NULL
    UNION
    SELECT id FROM waiting_event WHERE :everyone
), freed AS (
    DELETE FROM waiting_event w
    USING chosen c, ab_assignments a
    WHERE w.id = c.id AND a.experiment_id = w.experiment_id AND a.user_id = w.user_id
    RETURNING w.*
)
INSERT INTO incoming_row (
    line_number, row_number, is_released, raw, kind, experiment, variant, user_id, moment,
    event_type, event_value, event_id, source, details, session_context, experiment_id, variant_id,
    reason_code
)
SELECT f.id, f.id, true, to_jsonb(f), 'event', e.experiment_name, f.variant, f.user_id,
       f.event_timestamp, f.event_type, f.event_value, f.event_id, f.source, f.event_data,
       f.session_context, f.experiment_id, v.id,
       CASE WHEN f.variant IS NOT NULL AND v.id IS NULL THEN 'unknown-variant' END
FROM freed f
JOIN ab_experiments e ON e.id = f.experiment_id
LEFT JOIN ab_variants v ON v.experiment_id = f.experiment_id AND v.variant_name = f.variant;

-- name: match_events
-- Events to an assignment that came with them, or that they waited for.
UPDATE incoming_row r
SET assignment_id = a.id, variant_id = a.variant_id,
    reason_code = CASE WHEN a.variant_id <> r.variant_id THEN 'variant-mismatch' END
FROM ab_assignments a
WHERE r.kind = 'event' AND r.reason_code IS NULL AND r.assignment_id IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id;

-- name: keep_waiting
-- Events of units that nobody assigned yet wait; the newest load of one stands.
INSERT INTO waiting_event AS w (
    experiment_id, user_id, variant, event_type, event_value, event_data, event_timestamp,
    event_id, source, session_context, received_at
)
SELECT DISTINCT ON (experiment_id, event_id)
       experiment_id, user_id, variant, event_type, event_value, COALESCE(details, '{}'), moment,
       event_id, COALESCE(source, :source), COALESCE(session_context, '{}'), (SELECT headway.clock_now())
FROM incoming_row
WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NULL
ORDER BY experiment_id, event_id, line_number DESC
ON CONFLICT (experiment_id, event_id) DO UPDATE
SET user_id = EXCLUDED.user_id, variant = EXCLUDED.variant, event_type = EXCLUDED.event_type,
    event_value = EXCLUDED.event_value, event_data = EXCLUDED.event_data,
    event_timestamp = EXCLUDED.event_timestamp, source = EXCLUDED.source,
    session_context = EXCLUDED.session_context, received_at = EXCLUDED.received_at
WHERE (w.user_id, w.variant, w.event_type, w.event_value, w.event_data, w.event_timestamp,
       w.session_context)
      IS DISTINCT FROM
      (EXCLUDED.user_id, EXCLUDED.variant, EXCLUDED.event_type, EXCLUDED.event_value,
       EXCLUDED.event_data, EXCLUDED.event_timestamp, EXCLUDED.session_context);

-- name: insert_events
-- Events, each once; breaks off at one that is known.
INSERT INTO ab_metrics (
    experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
    event_timestamp, source, session_context, created_at, event_id
)
SELECT experiment_id, variant_id, assignment_id, event_type, event_value,
       COALESCE(details, '{}'), moment, COALESCE(source, :source),
       COALESCE(session_context, '{}'), (SELECT headway.clock_now()), event_id
FROM incoming_row
WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NOT NULL
  AND is_released = :is_released;

-- name: insert_new_events
-- Events, each once: one whose event_id is known is left to what follows.
WITH inserted AS (
    INSERT INTO ab_metrics (
        experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
        event_timestamp, source, session_context, created_at, event_id
    )
    SELECT experiment_id, variant_id, assignment_id, event_type, event_value,
           COALESCE(details, '{}'), moment, COALESCE(source, :source),
           COALESCE(session_context, '{}'), (SELECT headway.clock_now()), event_id
    FROM incoming_row
    WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NOT NULL
      AND is_released = :is_released
    ORDER BY line_number
    ON CONFLICT (experiment_id, event_id) DO NOTHING
    RETURNING experiment_id, assignment_id
), touched AS (
    INSERT INTO touched_unit (experiment_id, assignment_ids)
    SELECT experiment_id, array_agg(DISTINCT assignment_id) FROM inserted GROUP BY experiment_id
)
SELECT count(*) FROM inserted;

-- name: touch_units
-- Log the units of events that are all new.
INSERT INTO touched_unit (experiment_id, assignment_ids)
SELECT experiment_id, array_agg(DISTINCT assignment_id)
FROM incoming_row
WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NOT NULL
  AND is_released = :is_released
GROUP BY experiment_id;

-- name: reject_taken_ids
-- An event stays with its unit: another unit cannot take its event_id over.
UPDATE incoming_row r
SET reason_code = 'event-id-taken'
FROM ab_metrics m
WHERE r.kind = 'event' AND r.reason_code IS NULL AND r.is_released = :is_released
  AND m.experiment_id = r.experiment_id AND m.event_id = r.event_id
  AND m.assignment_id <> r.assignment_id;

-- name: correct_events
-- An event that says something else now: the newest load stands, what it says not stays as it was.
WITH corrected AS (
    UPDATE ab_metrics m
    SET event_type = r.event_type, event_value = r.event_value, event_timestamp = r.moment,
        event_data = COALESCE(r.details, m.event_data), source = COALESCE(r.source, m.source),
        session_context = COALESCE(r.session_context, m.session_context)
    FROM (
        SELECT DISTINCT ON (experiment_id, event_id) *
        FROM incoming_row
        WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NOT NULL
          AND NOT is_released
        ORDER BY experiment_id, event_id, line_number DESC
    ) r
    WHERE m.experiment_id = r.experiment_id AND m.event_id = r.event_id
      AND (m.event_type, m.event_value, m.event_timestamp, m.event_data, m.source,
           m.session_context)
          IS DISTINCT FROM
          (r.event_type, r.event_value, r.moment, COALESCE(r.details, m.event_data),
           COALESCE(r.source, m.source), COALESCE(r.session_context, m.session_context))
    RETURNING m.experiment_id, m.assignment_id
), touched AS (
    INSERT INTO touched_unit (experiment_id, assignment_ids)
    SELECT experiment_id, array_agg(DISTINCT assignment_id) FROM corrected GROUP BY experiment_id
)
SELECT assignment_id, count(*) AS events FROM corrected GROUP BY assignment_id;

-- name: mark_converted
-- A unit converts with its first event of the experiment's primary metric, in the metric's window.
UPDATE ab_assignments a
SET has_converted = true, converted_at = first_event.moment
FROM (
    SELECT r.assignment_id, min(r.moment) AS moment
    FROM incoming_row r
    JOIN experiment_metric em ON em.experiment_id = r.experiment_id AND em.role = 'primary'
    JOIN metric m ON m.id = em.metric_id AND m.event_type = r.event_type
    JOIN ab_assignments b ON b.id = r.assignment_id
    WHERE r.kind = 'event' AND r.reason_code IS NULL
      AND r.moment >= b.assigned_at + m.window_start_hours * interval '1 hour'
      AND (m.window_hours IS NULL
           OR r.moment < b.assigned_at + m.window_hours * interval '1 hour')
    GROUP BY r.assignment_id
) first_event
WHERE a.id = first_event.assignment_id
  AND (NOT a.has_converted OR first_event.moment < a.converted_at);

-- name: recount_conversions
-- Units whose events were corrected: did they convert, and when?
UPDATE ab_assignments a
SET has_converted = found.moment IS NOT NULL, converted_at = found.moment
FROM (
    SELECT b.id, min(e.event_timestamp) AS moment
    FROM ab_assignments b
    LEFT JOIN experiment_metric em ON em.experiment_id = b.experiment_id AND em.role = 'primary'
    LEFT JOIN metric m ON m.id = em.metric_id
    LEFT JOIN ab_metrics e
        ON e.assignment_id = b.id AND e.event_type = m.event_type
       AND e.event_timestamp >= b.assigned_at + m.window_start_hours * interval '1 hour'
       AND (m.window_hours IS NULL
            OR e.event_timestamp < b.assigned_at + m.window_hours * interval '1 hour')
    WHERE b.id = ANY(:assignments)
    GROUP BY b.id
) found
WHERE a.id = found.id AND a.converted_at IS DISTINCT FROM found.moment;

-- name: profile_incoming
-- The batch in a few figures, which its suite judges. Events with ids of their own are different
-- ones, however alike.
WITH repeated AS (
    SELECT event_type, sum(rows)::double precision / count(*) AS repetition
    FROM (
        SELECT experiment_id, event_type, user_id, moment, event_value, count(*) AS rows
        FROM incoming_row
        WHERE kind = 'event' AND reason_code IS NULL AND NOT has_id
        GROUP BY experiment_id, event_type, user_id, moment, event_value
    ) alike
    GROUP BY event_type
), whole AS (
    SELECT event_type, count(*) AS events, min(moment) AS first, max(moment) AS last,
           count(*) FILTER (WHERE user_id IS NULL) AS without_unit,
           count(*) FILTER (WHERE NOT abs(event_value) < 'Infinity') AS not_finite
    FROM incoming_row
    WHERE kind = 'event' AND reason_code IS NULL
    GROUP BY event_type
)
SELECT event_type, events, without_unit, not_finite, COALESCE(repetition, 1) AS repetition,
       extract(year FROM first AT TIME ZONE 'UTC')::integer AS first_year,
       extract(epoch FROM last - headway.clock_now())::double precision AS seconds_ahead
FROM whole LEFT JOIN repeated USING (event_type);

-- name: reject_batch
-- A suite that failed keeps the whole batch out.
UPDATE incoming_row SET reason_code = 'suite-failed', message = :message
WHERE reason_code IS NULL;

-- name: count_incoming
-- Rows of the source that were good, by kind.
SELECT count(*) FILTER (WHERE kind = 'assignment' AND reason_code IS NULL) AS assignments,
       count(*) FILTER (WHERE kind = 'event' AND reason_code IS NULL
                          AND assignment_id IS NULL) AS unassigned,
       count(*) FILTER (WHERE kind = 'event' AND reason_code IS NULL
                          AND assignment_id IS NOT NULL) AS events
FROM incoming_row WHERE NOT is_released;

-- name: record_batch
-- One batch, loaded.
INSERT INTO ingest_batch (
    source, content_sha256, experiment_name, batch_number, first_row, row_count,
    assignment_count, event_count, corrected_count, duplicate_count, waiting_count,
    rejected_count, run_id, ingested_at
) VALUES (
    :source, :sha256, :experiment, :batch_number, :first_row, :row_count,
    :assignments, :events, :corrected, :duplicates, :waiting,
    :rejected, CAST(:run_id AS uuid), headway.clock_now()
) RETURNING id;

-- name: explain_rejections
-- A sentence for each row that was rejected among the others.
UPDATE incoming_row r
SET message = CASE reason_code
    WHEN 'unknown-experiment' THEN format('no experiment is called %L', experiment)
    WHEN 'unknown-variant' THEN format('experiment %L has no variant %L', experiment, variant)
    WHEN 'unknown-epoch' THEN format('experiment %L has no allocation %s', experiment, epoch)
    WHEN 'future-timestamp' THEN format('%s lies in the future', moment)
    WHEN 'variant-mismatch' THEN format('%L is not assigned to %L', user_id, variant)
    WHEN 'event-id-taken' THEN format('event_id %L belongs to an event of another unit', event_id)
    END
WHERE reason_code IS NOT NULL AND message IS NULL;

-- name: find_unkept
-- Rejected rows of the source whose content is not kept yet.
SELECT row_number FROM incoming_row WHERE reason_code IS NOT NULL AND raw IS NULL;

-- name: fill_raw
-- Keep what rejected rows said.
UPDATE incoming_row r SET raw = given.raw
FROM unnest(CAST(:row_numbers AS bigint[]), CAST(:raws AS jsonb[])) AS given (row_number, raw)
WHERE r.row_number = given.row_number AND NOT r.is_released;

-- name: keep_rejected
-- Nothing is lost: rows that did not fit, with their reason; a line of a source once. Those that
-- had waited are numbered as they waited.
INSERT INTO rejected_row (
    ingest_batch_id, content_sha256, experiment_name, line_number, raw, reason_code, message,
    rejected_at
)
SELECT :batch_id, CASE WHEN is_released THEN 'waiting' ELSE :sha256 END,
       CASE WHEN is_released THEN '' ELSE :experiment END, line_number, raw, reason_code, message,
       (SELECT headway.clock_now())
FROM incoming_row WHERE reason_code IS NOT NULL
ON CONFLICT (content_sha256, experiment_name, line_number) DO NOTHING;

-- name: count_reasons
-- Why rows of the source were rejected; or those that had waited.
SELECT reason_code, count(*) AS rows FROM incoming_row
WHERE reason_code IS NOT NULL AND is_released = :is_released
GROUP BY reason_code ORDER BY reason_code;

-- name: example_rejections
-- For each reason what it said of the first row, however many there are.
SELECT DISTINCT ON (reason_code) reason_code, left(message, 200) AS message FROM incoming_row
WHERE reason_code IS NOT NULL AND NOT is_released
ORDER BY reason_code, line_number;

-- name: kept_rejections
-- Why rows of a batch were rejected that was loaded before, with what was said of the first.
SELECT reason_code, count(*) AS rows,
       left((array_agg(message ORDER BY line_number))[1], 200) AS message
FROM rejected_row WHERE ingest_batch_id = :batch_id
GROUP BY reason_code ORDER BY reason_code;

-- name: list_rejected
-- Rejected rows, the newest batch first and each in the order of its lines.
SELECT r.ingest_batch_id AS batch, b.source, r.line_number AS line, r.reason_code AS reason,
       r.message, r.raw, r.rejected_at
FROM rejected_row r JOIN ingest_batch b ON b.id = r.ingest_batch_id
WHERE (CAST(:batch AS bigint) IS NULL OR r.ingest_batch_id = :batch)
  AND (CAST(:experiment AS text) IS NULL OR r.experiment_name = :experiment
       OR (jsonb_typeof(r.raw) = 'object' AND r.raw->>'experiment' = :experiment))
ORDER BY r.ingest_batch_id DESC, r.line_number
LIMIT :limit;

-- name: has_batch
-- One row if there is such a batch.
SELECT true FROM ingest_batch WHERE id = :batch;

-- name: released_numbers
-- Events that had waited, and the first of their numbers.
SELECT count(*) AS rows, COALESCE(min(line_number), 0) AS first
FROM incoming_row WHERE is_released;
