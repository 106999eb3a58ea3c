-- name: put_notices
-- Notices, each for one channel, unless they were told there before.
INSERT INTO notification (dedupe_key, channel, kind, subject, payload, created_at)
SELECT key, channel, kind, subject, payload, headway.clock_now()
FROM jsonb_to_recordset(CAST(:notices AS jsonb)) AS notice(
    key text, channel text, kind text, subject text, payload jsonb)
ON CONFLICT (channel, dedupe_key) DO NOTHING;

-- name: unsent_messages
-- What is still to be sent, the oldest first.
SELECT id FROM notification
WHERE sent_at IS NULL AND attempts < :most_attempts
ORDER BY id LIMIT :limit;

-- name: lock_message
-- One message to send; nothing where it was sent, or somebody is sending it.
SELECT id, channel, kind, subject, payload, created_at FROM notification
WHERE id = :id AND sent_at IS NULL
FOR UPDATE SKIP LOCKED;

-- name: mark_tried
-- One try, with what came of it.
UPDATE notification
SET attempts = attempts + 1, last_error = CAST(:error AS text),
    sent_at = CASE WHEN CAST(:error AS text) IS NULL THEN headway.clock_now() END
WHERE id = :id;

-- name: recent_messages
-- The newest messages.
SELECT id, channel, kind, subject, created_at, sent_at, attempts, last_error
FROM notification ORDER BY id DESC LIMIT :limit;
