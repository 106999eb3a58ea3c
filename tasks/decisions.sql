-- name: record_decision
-- One verdict with everything it was made of; the table is append-only.
INSERT INTO headway.decision
    (rule, rule_version, subject, verdict, reasons, details, inputs, run_id, actor, reason)
VALUES
    (:rule, :rule_version, :subject, :verdict, CAST(:reasons AS jsonb), CAST(:details AS jsonb),
     CAST(:inputs AS jsonb), :run_id, :actor, :reason)
RETURNING id;

-- name: stored_decisions
-- Decisions in the order they were made, a page at a time.
SELECT id, rule, rule_version, subject, verdict, reasons, details, inputs, decided_at
FROM headway.decision
WHERE id > :after_id AND (CAST(:subject AS text) IS NULL OR subject = :subject)
ORDER BY id
LIMIT :page_size;

-- name: latest_decisions
-- The newest decisions first.
SELECT id, subject, verdict, reasons, rule, rule_version, actor, reason, decided_at
FROM headway.decision
WHERE CAST(:subject AS text) IS NULL OR subject = :subject
ORDER BY id DESC
LIMIT :limit;
