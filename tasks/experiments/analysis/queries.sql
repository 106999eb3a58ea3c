-- name: active_experiments
-- What is due: every active experiment that has a primary metric.
SELECT e.id::text AS id, e.experiment_name AS name
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
WHERE e.status = 'active'
ORDER BY e.experiment_name;

-- name: lock_experiment
-- Serialise looks at one experiment; everything that its decision needs to know of it. Rows that
-- refer to it can be added meanwhile.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, e.minimum_sample_size,
       m.id AS metric_id, m.name AS metric, m.kind, m.event_type,
       m.aggregation::text AS aggregation, m.missing::text AS missing, m.is_higher_better,
       em.planned_sample_size, em.alpha, em.is_stopped_at_winner
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
JOIN metric m ON m.id = em.metric_id
WHERE e.id = CAST(:experiment_id AS uuid)
FOR NO KEY UPDATE OF e;

-- name: arm_moments
-- Sufficient statistics of each arm: one value a unit, aggregated from its events.
WITH unit_value AS (
    SELECT a.variant_id, count(m.id) AS events,
           COALESCE(
               CASE CAST(:aggregation AS text)
                   WHEN 'sum' THEN sum(m.event_value)
                   WHEN 'mean' THEN avg(m.event_value)
                   WHEN 'min' THEN min(m.event_value)
                   WHEN 'max' THEN max(m.event_value)
                   WHEN 'count' THEN NULLIF(count(m.id), 0)::double precision
                   WHEN 'any' THEN CASE WHEN count(m.id) > 0 THEN 1.0 END
                   -- The last element decides among arrays whose first ones are equal.
                   WHEN 'first' THEN (min(ARRAY[extract(epoch FROM m.event_timestamp)::float8,
                                                m.event_value])
                                      FILTER (WHERE m.event_value IS NOT NULL))[2]
                   WHEN 'last' THEN (max(ARRAY[extract(epoch FROM m.event_timestamp)::float8,
                                               m.event_value])
                                     FILTER (WHERE m.event_value IS NOT NULL))[2]
               END,
               CASE WHEN CAST(:missing AS text) = 'zero' THEN 0.0 END
           ) AS value
    FROM ab_assignments a
    LEFT JOIN ab_metrics m ON m.assignment_id = a.id AND m.event_type = :event_type
                          AND m.event_timestamp >= a.assigned_at
                          -- NaN and infinities fail the data checks; the rest stays readable.
                          AND (m.event_value IS NULL OR abs(m.event_value) < 'Infinity')
    WHERE a.experiment_id = :experiment_id
    GROUP BY a.id, a.variant_id
)
SELECT v.id, v.variant_name AS name, v.traffic_weight AS weight, v.is_control,
       count(u.variant_id) AS assigned, COALESCE(sum(u.events), 0)::bigint AS events,
       count(u.value) AS n, COALESCE(avg(u.value), 0)::double precision AS mean,
       (COALESCE(var_samp(u.value), 0) * greatest(count(u.value) - 1, 0))::double precision AS m2,
       COALESCE(sum(u.value), 0)::double precision AS total,
       count(*) FILTER (WHERE u.events > 0) AS converted
FROM ab_variants v
LEFT JOIN unit_value u ON u.variant_id = v.id
WHERE v.experiment_id = :experiment_id
GROUP BY v.id
ORDER BY v.is_control DESC, v.variant_name;

-- name: earlier_looks
-- Every look so far, one row an arm, in order.
SELECT vm.look_number, vm.information_fraction AS fraction, vm.is_usable, vm.z,
       v.variant_name AS name, v.is_control, vm.assigned_count AS assigned,
       vm.event_count AS events, vm.n, vm.mean, vm.m2, vm.difference, vm.statistic, vm.p_value,
       vm.z_bound AS bound, vm.is_significant,
       CAST(d.inputs ->> 'planned_units' AS bigint) AS planned_units,
       CAST(d.inputs ->> 'alpha' AS double precision) AS alpha
FROM variant_metric vm JOIN ab_variants v ON v.id = vm.variant_id
LEFT JOIN headway.decision d ON d.id = vm.decision_id
WHERE vm.experiment_id = :experiment_id AND vm.metric_id = :metric_id
ORDER BY vm.look_number, v.is_control DESC, v.variant_name;

-- name: record_look
-- One arm at one look.
INSERT INTO variant_metric (
    experiment_id, metric_id, variant_id, look_number, information_fraction, is_usable,
    assigned_count, event_count, n, mean, m2, difference, difference_lower, difference_upper,
    statistic, p_value, z, z_bound, alpha_spent, is_significant, decision_id, computed_at
) VALUES (
    :experiment_id, :metric_id, :variant_id, :look_number, :information_fraction, :is_usable,
    :assigned, :events, :n, :mean, :m2, :difference, :lower, :upper,
    :statistic, :p_value, :z, :bound, :alpha_spent, :is_significant, :decision_id,
    headway.clock_now()
);

-- name: fill_variant
-- The result columns of one arm.
UPDATE ab_variants
SET impressions = CAST(:assigned AS bigint), conversions = CAST(:converted AS bigint),
    conversion_rate = COALESCE(
        CAST(:converted AS bigint)::double precision / NULLIF(CAST(:assigned AS bigint), 0), 0
    ),
    total_value = :total, confidence_interval_lower = :lower, confidence_interval_upper = :upper,
    updated_at = headway.clock_now()
WHERE id = :variant_id;

-- name: fill_experiment
-- The result columns of the experiment; completed once it is over.
UPDATE ab_experiments
SET winner_variant = :winner, statistical_significance = :significance,
    status = CASE WHEN :is_over THEN 'completed' ELSE status END,
    completed_at = CASE WHEN :is_over THEN headway.clock_now() ELSE completed_at END,
    updated_at = headway.clock_now()
WHERE id = :experiment_id;
