-- name: insert_experiment
-- A new experiment, active at once; nothing where the name is taken.
INSERT INTO ab_experiments (
    experiment_name, description, hypothesis, metric_type, minimum_sample_size, status,
    started_at, default_traffic_split, created_at, updated_at, created_by
) VALUES (
    :name, :description, :hypothesis, :metric_type, :minimum_sample_size, 'active',
    headway.clock_now(), CAST(:split AS jsonb), headway.clock_now(), headway.clock_now(), :actor
) ON CONFLICT (experiment_name) DO NOTHING
RETURNING id;

-- name: insert_variant
-- One arm of a new experiment.
INSERT INTO ab_variants (experiment_id, variant_name, variant_label, traffic_weight, is_control)
VALUES (:experiment_id, :name, :label, :weight, :is_control);

-- name: insert_metric
-- A metric, unless one of that name is known.
INSERT INTO metric (name, description, kind, event_type, aggregation, missing, is_higher_better)
VALUES (
    :name, :description, :kind, :event_type, CAST(:aggregation AS metric_aggregation),
    CAST(:missing AS metric_missing), :is_higher_better
) ON CONFLICT (name) DO NOTHING;

-- name: insert_experiment_metric
-- What decides the experiment.
INSERT INTO experiment_metric (
    experiment_id, metric_id, role, planned_sample_size, alpha, is_stopped_at_winner
)
SELECT :experiment_id, metric.id, 'primary', :planned_sample_size, :alpha, :is_stopped_at_winner
FROM metric WHERE metric.name = :metric;

-- name: find_metric
-- A metric by its name, as a plan gives it.
SELECT name, kind, event_type, aggregation::text AS aggregation, missing::text AS missing,
       is_higher_better
FROM metric WHERE name = :name;

-- name: find_plan
-- What an experiment of that name was planned to be.
SELECT e.id::text AS id, e.minimum_sample_size, m.name AS metric, em.planned_sample_size, em.alpha,
       em.is_stopped_at_winner,
       (SELECT jsonb_agg(jsonb_build_array(v.variant_name, v.traffic_weight, v.is_control)
                         ORDER BY v.variant_name)
        FROM ab_variants v WHERE v.experiment_id = e.id) AS variants
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
WHERE e.experiment_name = :name;
