-- name: lock_open_alerts
-- The open alerts among those asked for, kept from others until the transaction ends.
SELECT alert.*
FROM alert
JOIN jsonb_to_recordset(CAST(:asked AS jsonb)) AS wanted(subject text, metric text)
    USING (subject, metric)
WHERE state <> 'resolved'
ORDER BY subject, metric
FOR UPDATE OF alert;

-- name: record_alerts
-- What was observed: new alerts (where somebody was faster, his counts up), the new standing of
-- those that this transaction has locked, and the audit of what is news. Returns the new ones.
WITH opened AS (
    INSERT INTO alert AS known
        (subject, metric, severity, title, message, details, opened_at, seen_at)
    SELECT
        subject, metric, severity, title, message, details, headway.clock_now(),
        headway.clock_now()
    FROM jsonb_to_recordset(CAST(:new AS jsonb)) AS seen(
        subject text, metric text, severity text, title text, message text, details jsonb)
    ORDER BY subject, metric
    ON CONFLICT (subject, metric) WHERE state <> 'resolved' DO UPDATE
        SET occurrences = known.occurrences + 1, healthy_streak = 0, seen_at = excluded.seen_at
    RETURNING known.*
),
saved AS (
    UPDATE alert SET
        severity = changed.severity,
        state = changed.state,
        title = changed.title,
        message = changed.message,
        details = changed.details,
        occurrences = changed.occurrences,
        healthy_streak = changed.healthy_streak,
        seen_at = headway.clock_now(),
        resolved_at = CASE WHEN changed.state = 'resolved' THEN headway.clock_now() END
    FROM jsonb_to_recordset(CAST(:changed AS jsonb)) AS changed(
        id bigint, severity text, state text, title text, message text, details jsonb,
        occurrences integer, healthy_streak integer)
    WHERE alert.id = changed.id
),
audited AS (
    INSERT INTO alert_change (alert_id, old_state, new_state, actor, note, changed_at)
    SELECT alert_id, old_state, new_state, :actor, note, headway.clock_now()
    FROM (
        SELECT id AS alert_id, CAST(NULL AS text) AS old_state, state AS new_state, message AS note
        FROM opened
        WHERE occurrences = 1
        UNION ALL
        SELECT alert_id, old_state, new_state, note
        FROM jsonb_to_recordset(CAST(:changes AS jsonb)) AS change(
            alert_id bigint, old_state text, new_state text, note text)
    ) AS news
    ORDER BY alert_id
)
SELECT * FROM opened ORDER BY subject, metric;

-- name: record_alert_change
-- What a person did about an alert; the audit is append-only.
INSERT INTO alert_change (alert_id, old_state, new_state, actor, note, changed_at)
VALUES (:alert_id, :old_state, :new_state, :actor, :note, headway.clock_now());

-- name: lock_alert
-- One alert, kept from others until the transaction ends.
SELECT * FROM alert WHERE id = :alert_id FOR UPDATE;

-- name: set_alert_state
-- What a person made of an alert.
UPDATE alert SET
    state = :state,
    acknowledged_at = CASE WHEN :state = 'acknowledged' THEN headway.clock_now()
                      ELSE acknowledged_at END,
    resolved_at = CASE WHEN :state = 'resolved' THEN headway.clock_now() END
WHERE id = :alert_id
RETURNING *;

-- name: list_alerts
-- Alerts, the gravest of the open ones first; those that are resolved only if asked for.
SELECT * FROM alert
WHERE (:has_resolved OR state <> 'resolved')
    AND (CAST(:subject AS text) IS NULL OR subject = CAST(:subject AS text))
ORDER BY state = 'resolved', array_position(ARRAY['critical', 'warning', 'info'], severity), id DESC
LIMIT :limit;

-- name: alert_changes
-- What was done about an alert, the oldest first.
SELECT old_state, new_state, actor, note, changed_at FROM alert_change
WHERE alert_id = :alert_id ORDER BY id;
