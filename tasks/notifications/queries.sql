-- name: put_notice
-- A notice for one channel, unless it was told there before.
INSERT INTO notification (dedupe_key, channel, kind, subject, payload, created_at)
VALUES (:key, :channel, :kind, :subject, CAST(:payload AS jsonb), headway.clock_now())
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
