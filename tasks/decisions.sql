-- name: record_decisions
-- Verdicts of one rule with everything they were made of, numbered in the order given; the table is
-- append-only.
INSERT INTO headway.decision
    (rule, rule_version, subject, verdict, reasons, details, inputs, run_id, actor, reason)
SELECT :rule, CAST(:rule_version AS integer), decision ->> 'subject',
       decision #>> '{said,verdict}', decision #> '{said,reasons}', decision #> '{said,details}',
       decision -> 'inputs', CAST(:run_id AS uuid), CAST(:actor AS text), CAST(:reason AS text)
FROM jsonb_array_elements(CAST(:decisions AS jsonb)) WITH ORDINALITY AS given (decision, place)
ORDER BY place
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
