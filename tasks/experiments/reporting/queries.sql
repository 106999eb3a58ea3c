-- name: experiments_status
-- Every experiment with where it stands; the newest first.
SELECT e.experiment_name AS name, e.status::text AS status, e.winner_variant AS winner,
       e.statistical_significance AS significance, COALESCE(looks.count, 0) AS looks,
       d.verdict AS last_verdict, d.decided_at AS last_look_at
FROM ab_experiments e
LEFT JOIN LATERAL (
    SELECT count(DISTINCT vm.look_number) AS count, max(vm.decision_id) AS decision_id
    FROM variant_metric vm WHERE vm.experiment_id = e.id
) looks ON true
LEFT JOIN headway.decision d ON d.id = looks.decision_id
ORDER BY e.created_at DESC, e.experiment_name;

-- name: latest_decision
-- The last look at an experiment, as it was decided.
SELECT e.id, e.status::text AS status, m.id AS metric_id, m.name AS metric, m.kind,
       d.id AS decision_id, d.verdict, d.reasons, d.details
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN LATERAL (
    SELECT max(vm.decision_id) AS id FROM variant_metric vm WHERE vm.experiment_id = e.id
) latest ON true
LEFT JOIN headway.decision d ON d.id = latest.id
WHERE e.experiment_name = :name;
