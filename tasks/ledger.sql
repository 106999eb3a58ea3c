-- name: lock_key
-- Simultaneous callers of one key share one execution: the second waits, then finds the row.
SELECT pg_advisory_xact_lock(hashtextextended(:key, 0));

-- name: find_step
-- The output of the step with this key, if it is done.
SELECT output FROM headway.step WHERE key = :key;

-- name: record_step
-- The step is done: this row commits with its effect.
INSERT INTO headway.step
    (scope, run_id, name, business_key, key, inputs, output, attempt, started_at)
VALUES
    (CAST(:scope AS headway.step_scope), :run_id, :name, :business_key, :key,
     CAST(:inputs AS jsonb), CAST(:output AS jsonb), :attempt, now());

-- name: record_failed_attempt
-- An attempt failed; its own transaction is gone, so this row has another.
INSERT INTO headway.step_attempt
    (key, run_id, name, business_key, attempt, error_type, error_message, is_retryable)
VALUES
    (:key, :run_id, :name, :business_key, :attempt, :error_type, :error_message, :is_retryable);
