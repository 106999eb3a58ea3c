-- name: find_assignment
-- The arm that a unit already has, and whether new units still get one.
SELECT e.id AS experiment_id, e.status = 'active' AS is_active, v.variant_name AS variant
FROM ab_experiments e
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants v ON v.id = a.variant_id
WHERE e.experiment_name = :experiment;

-- name: variant_weights
-- The arms of an experiment in the order that assignment uses.
SELECT id, variant_name AS name, traffic_weight AS weight
FROM ab_variants WHERE experiment_id = :experiment_id
ORDER BY is_control DESC, variant_name;

-- name: assign_unit
-- Give a unit its arm, unless somebody just did.
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value)
VALUES (:experiment_id, :variant_id, :unit, headway.clock_now(), :bucket)
ON CONFLICT (experiment_id, user_id) DO NOTHING;
