-- name: lock_winner
-- Two that roll the same winner out wait for each other.
SELECT pg_advisory_xact_lock(hashtextextended('rollout of winner:' || :experiment, 0));

-- name: winners_without_rollout
-- Winners that there is something to roll out of, and that nothing became of yet: of experiments
-- whose policy rolls them out, and of those that a winner completed lately. A draft that somebody
-- deleted is not made again, because what became of the winner is decided.
SELECT
    e.experiment_name AS experiment,
    e.id AS experiment_id,
    v.variant_name AS winner,
    v.model_version,
    nullif(control.model_version, v.model_version) AS control_version,
    p.policy,
    p.organization,
    named.decision_id
FROM ab_experiments e
JOIN experiment_plan p ON p.experiment_id = e.id
JOIN ab_variants v
    ON v.experiment_id = e.id AND v.variant_name = e.winner_variant AND NOT v.is_control
LEFT JOIN ab_variants control ON control.experiment_id = e.id AND control.is_control
CROSS JOIN LATERAL (
    SELECT max(coalesce((d.inputs ->> 'decision_id')::bigint, d.id))
            FILTER (WHERE d.rule = 'winner-rollout' AND d.verdict = 'roll-out') AS wished_by,
        max(d.id) FILTER (WHERE d.rule <> 'winner-rollout') AS decided_by
    FROM headway.decision d
    WHERE d.subject = 'experiment:' || e.experiment_name
        AND d.rule IN ('experiment-winner', 'winner-selection', 'winner-rollout')
        AND d.details ->> 'winner' = v.variant_name
) AS said
CROSS JOIN LATERAL (
    SELECT CASE p.policy WHEN 'roll_out' THEN said.wished_by ELSE said.decided_by END AS decision_id
) AS named
WHERE v.model_version IS NOT NULL
    AND named.decision_id IS NOT NULL
    AND (CAST(:experiment AS text) IS NULL OR e.experiment_name = CAST(:experiment AS text))
    AND (p.policy = 'roll_out' OR (
        e.status = 'completed' AND e.completed_at > headway.clock_now() - interval '30 days'))
    AND NOT EXISTS (
        SELECT FROM headway.decision d
        WHERE d.subject = 'experiment:' || e.experiment_name
            AND d.rule = 'rollout-of-winner'
            AND d.details ->> 'winner' = v.variant_name)
ORDER BY e.experiment_name;

-- name: is_name_free
-- Whether no rollout has the name.
SELECT NOT EXISTS (SELECT FROM rollout WHERE name = :name);

-- name: record_origin
-- Where a rollout comes from.
INSERT INTO rollout_origin (rollout_id, experiment_id, variant_name, decision_id, created_at)
VALUES (:rollout_id, :experiment_id, :winner, :decision_id, headway.clock_now());
