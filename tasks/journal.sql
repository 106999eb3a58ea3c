-- name: intend_effect
-- Announce an effect outside the transaction; nothing if it was announced before.
INSERT INTO headway.effect (key, step_key, name, intent)
VALUES (:key, :step_key, :name, CAST(:intent AS jsonb))
ON CONFLICT (key) DO NOTHING
RETURNING key;

-- name: find_effect
-- What is known of an announced effect.
SELECT done_at IS NOT NULL AS is_done, outcome FROM headway.effect WHERE key = :key;

-- name: finish_effect
-- The effect happened, with this outcome.
UPDATE headway.effect SET outcome = CAST(:outcome AS jsonb), done_at = clock_timestamp()
WHERE key = :key AND done_at IS NULL;
