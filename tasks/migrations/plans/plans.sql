-- name: saved_plan
-- The newest plan whose hash starts with the prefix.
SELECT id, verdict, reasons, inputs
FROM headway.decision
WHERE rule = 'migration-gate' AND starts_with(details ->> 'plan_hash', :prefix)
ORDER BY id DESC
LIMIT 1;

-- name: inputs_of_decision
-- What a decision was made on.
SELECT inputs FROM headway.decision WHERE id = :id;
