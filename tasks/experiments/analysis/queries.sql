-- name: active_experiments
-- What is due: every active experiment that has a primary metric.
SELECT e.id::text AS id, e.experiment_name AS name
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
WHERE e.status = 'active'
ORDER BY e.experiment_name;

-- name: lock_experiments
-- Serialise looks at the same experiments, in one order for all; and what was planned for them.
-- Rows that refer to them can be added meanwhile.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, e.minimum_sample_size,
       e.started_at, e.winner_variant AS winner, headway.clock_now() AS now,
       COALESCE(p.method, 'group_sequential') AS method,
       COALESCE(p.method_options, '{}') AS method_options,
       COALESCE(p.policy, 'select') AS policy, COALESCE(p.power, 0.8) AS power,
       COALESCE(p.minimum_weeks, 0) AS minimum_weeks, p.minimum_effect,
       COALESCE(p.reserved_alpha, 0) AS reserved_alpha, p.tie_break_metric, p.ends_at,
       COALESCE(p.is_holdout, false) AS is_holdout
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY e.id
FOR NO KEY UPDATE OF e;

-- name: measured_arms
-- Every metric of the experiments with its sufficient statistics, one row an arm.
SELECT em.experiment_id, em.metric_id, em.role::text AS role, m.name AS metric, m.kind,
       m.is_higher_better, m.quantile, em.alpha, em.margin, em.planned_sample_size, em.is_stopped_at_winner,
       m.denominator_event_type IS NOT NULL AS has_denominator,
       m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL AS has_covariate,
       v.id AS variant_id, v.variant_name AS name, v.traffic_weight AS weight, v.is_control,
       v.model_version, s.assigned, s.events, s.converted, s.n, s.mean, s.m2,
       s.denominator_mean, s.denominator_m2, s.denominator_c2,
       s.covariate_mean, s.covariate_m2, s.covariate_c2,
       -- Who aggregated a mean did not say how many units had an event.
       m.kind NOT IN ('proportion', 'retention') AND EXISTS (
           SELECT FROM aggregate_statistic a
           WHERE a.experiment_id = em.experiment_id AND a.metric_id = em.metric_id
       ) AND NOT EXISTS (
           SELECT FROM ab_assignments u
           WHERE u.experiment_id = em.experiment_id AND NOT u.is_override
       ) AS is_uncounted
FROM experiment_metric em
JOIN metric m ON m.id = em.metric_id
JOIN ab_variants v ON v.experiment_id = em.experiment_id
LEFT JOIN moment_statistic s
  ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id AND s.variant_id = v.id
 AND s.dimension = '' AND s.level = ''
WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY em.experiment_id, em.role, m.name, v.is_control DESC, v.variant_name;

-- name: epoch_cells
-- Who came while each split held, one row for an arm, of experiments whose split has moved: arms
-- are compared within these epochs. Those that nobody came in are left out.
WITH moved AS (
    SELECT DISTINCT experiment_id
    FROM (
        SELECT w.experiment_id
        FROM allocation_weight w
        WHERE w.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
        GROUP BY w.experiment_id, w.variant_id
        HAVING min(w.weight) <> max(w.weight)
    ) arm
)
SELECT em.experiment_id, em.metric_id, l.epoch, v.variant_name AS name,
       COALESCE(w.weight, 0) > 0 AS is_offered, COALESCE(s.n, 0) AS n,
       COALESCE(s.mean, 0) AS mean, COALESCE(s.m2, 0) AS m2,
       m.denominator_event_type IS NOT NULL AS has_denominator,
       m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL AS has_covariate,
       COALESCE(s.denominator_mean, 0) AS denominator_mean,
       COALESCE(s.denominator_m2, 0) AS denominator_m2,
       COALESCE(s.denominator_c2, 0) AS denominator_c2,
       COALESCE(s.covariate_mean, 0) AS covariate_mean,
       COALESCE(s.covariate_m2, 0) AS covariate_m2,
       COALESCE(s.covariate_c2, 0) AS covariate_c2
FROM moved
JOIN experiment_metric em USING (experiment_id)
JOIN metric m ON m.id = em.metric_id
JOIN allocation l USING (experiment_id)
JOIN ab_variants v USING (experiment_id)
LEFT JOIN allocation_weight w
    ON w.experiment_id = l.experiment_id AND w.epoch = l.epoch AND w.variant_id = v.id
LEFT JOIN moment_statistic s
    ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id AND s.variant_id = v.id
   AND s.dimension = 'epoch' AND s.level = l.epoch::text
WHERE EXISTS (
    SELECT FROM moment_statistic any_arm
    WHERE any_arm.experiment_id = em.experiment_id AND any_arm.metric_id = em.metric_id
      AND any_arm.dimension = 'epoch' AND any_arm.level = l.epoch::text AND any_arm.n > 0
)
ORDER BY em.experiment_id, em.metric_id, l.epoch, v.is_control DESC, v.variant_name;

-- name: earlier_looks
-- The looks so far that tested something, as one document an experiment; the terms of the latest
-- of them; and number and inputs of the last look of all.
WITH look AS (
    SELECT vm.experiment_id, vm.look_number, vm.information_fraction AS fraction,
           bool_and(vm.is_usable) AS is_usable, max(vm.decision_id) AS decision_id,
           max(vm.inputs_hash) AS inputs_hash,
           COALESCE(jsonb_object_agg(v.variant_name, vm.z) FILTER (WHERE NOT v.is_control), '{}')
               AS z,
           jsonb_object_agg(v.variant_name, vm.n) AS n
    FROM variant_metric vm
    JOIN experiment_metric em
      ON em.experiment_id = vm.experiment_id AND em.metric_id = vm.metric_id
     AND em.role = 'primary'
    JOIN ab_variants v ON v.id = vm.variant_id
    WHERE vm.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
    GROUP BY vm.experiment_id, vm.look_number, vm.information_fraction
), history AS (
    SELECT experiment_id, max(look_number) AS last_number,
           (array_agg(inputs_hash ORDER BY look_number DESC))[1] AS last_hash,
           max(decision_id) FILTER (WHERE is_usable) AS decision_id,
           COALESCE(
               jsonb_agg(
                   jsonb_build_object('number', look_number, 'fraction', fraction, 'z', z, 'n', n)
                   ORDER BY look_number
               ) FILTER (WHERE is_usable),
               '[]'
           ) AS looks
    FROM look
    GROUP BY experiment_id
)
SELECT h.experiment_id, h.last_number, h.last_hash, h.looks,
       ARRAY(
           SELECT jsonb_build_array(arm -> 'name', arm -> 'raw_p_value')
           FROM jsonb_array_elements(d.details -> 'arms') AS arm
           WHERE jsonb_typeof(arm -> 'raw_p_value') = 'number'
       ) AS p_values,
       -- Version 1 of the rule knew one method, and kept its terms elsewhere.
       COALESCE(
           d.inputs #> '{plan,terms}',
           jsonb_build_object(
               'alpha', d.inputs -> 'alpha', 'planned_units', d.inputs -> 'planned_units'
           )
       ) AS terms
FROM history h
LEFT JOIN headway.decision d ON d.id = h.decision_id;

-- name: record_batch
-- What a batch came to: one row for every arm and metric of every look, and the result columns of
-- arms and experiments; completed are those that are over.
WITH recorded AS (
    INSERT INTO variant_metric (
        experiment_id, metric_id, variant_id, look_number, information_fraction, is_usable,
        assigned_count, event_count, n, mean, m2, difference, difference_lower, difference_upper,
        statistic, p_value, z, z_bound, alpha_spent, is_significant, inputs_hash, decision_id,
        computed_at
    )
    SELECT r.experiment_id, r.metric_id, r.variant_id, r.look_number, r.fraction, r.is_usable,
           r.assigned, r.events, r.n, r.mean, r.m2, r.difference, r.lower, r.upper,
           r.statistic, r.p_value, r.z, r.bound, r.alpha_spent, r.is_significant, r.inputs_hash,
           r.decision_id, headway.clock_now()
    FROM jsonb_to_recordset(CAST(:looks AS jsonb)) AS r (
        experiment_id uuid, metric_id uuid, variant_id uuid, look_number integer,
        fraction double precision, is_usable boolean, assigned bigint, events bigint, n bigint,
        mean double precision, m2 double precision, difference double precision,
        lower double precision, upper double precision, statistic double precision,
        p_value double precision, z double precision, bound double precision,
        alpha_spent double precision, is_significant boolean, inputs_hash text, decision_id bigint
    )
), filled AS (
    UPDATE ab_variants v
    SET impressions = r.assigned, conversions = COALESCE(r.converted, 0),
        conversion_rate = LEAST(
            1, COALESCE(r.converted::double precision / NULLIF(r.assigned, 0), 0)
        ),
        total_value = r.total, confidence_interval_lower = r.lower,
        confidence_interval_upper = r.upper, updated_at = headway.clock_now()
    FROM jsonb_to_recordset(CAST(:variants AS jsonb)) AS r (
        variant_id uuid, assigned bigint, converted bigint, total double precision,
        lower double precision, upper double precision
    )
    WHERE v.id = r.variant_id
)
UPDATE ab_experiments e
SET winner_variant = CASE WHEN r.is_selected THEN r.winner ELSE e.winner_variant END,
    statistical_significance = r.significance,
    status = CASE WHEN r.is_over THEN 'completed' ELSE e.status END,
    completed_at = CASE WHEN r.is_over THEN headway.clock_now() ELSE e.completed_at END,
    updated_at = headway.clock_now()
FROM jsonb_to_recordset(CAST(:experiments AS jsonb)) AS r (
    experiment_id uuid, is_selected boolean, winner text, significance double precision,
    is_over boolean
)
WHERE e.id = r.experiment_id;

-- name: wished_winners
-- The winners of experiments that a wish to roll out was recorded for.
SELECT subject, details ->> 'winner' AS winner
FROM headway.decision
WHERE rule = 'winner-rollout' AND subject = ANY(:subjects);

-- name: past_looks
-- Every look at the primary metric of experiments, a row for each treatment, in order.
SELECT vm.experiment_id::text AS experiment_id, vm.look_number AS number, vm.information_fraction AS fraction, v.variant_name AS arm, vm.n,
       vm.difference, vm.statistic, vm.p_value, vm.z_bound AS bound, vm.is_significant
FROM variant_metric vm
JOIN experiment_metric em
  ON em.experiment_id = vm.experiment_id AND em.metric_id = vm.metric_id AND em.role = 'primary'
JOIN ab_variants v ON v.id = vm.variant_id
WHERE vm.experiment_id = ANY(CAST(:experiment_ids AS uuid[])) AND NOT v.is_control
ORDER BY vm.experiment_id, vm.look_number, v.variant_name;

-- name: verdicts
-- Decisions as they were made.
SELECT id, verdict, reasons, details
FROM headway.decision
WHERE id = ANY(CAST(:decision_ids AS bigint[]));

-- name: lock_selection
-- One experiment with what its last look decided; nobody else chooses meanwhile.
SELECT e.id, e.status::text AS status, e.winner_variant AS chosen,
       COALESCE(p.policy, 'select') AS policy,
       ARRAY(
           SELECT v.variant_name FROM ab_variants v WHERE v.experiment_id = e.id ORDER BY 1
       ) AS variants,
       d.id AS decision_id, d.details ->> 'winner' AS decided, d.reasons
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN headway.decision d ON d.id = (
    SELECT max(vm.decision_id) FROM variant_metric vm WHERE vm.experiment_id = e.id
)
WHERE e.experiment_name = :name
FOR NO KEY UPDATE OF e;

-- name: select_winner
-- The winner that a person chose; the experiment is over with it.
UPDATE ab_experiments e
SET winner_variant = :winner, status = 'completed',
    completed_at = COALESCE(e.completed_at, headway.clock_now()), updated_at = headway.clock_now()
FROM ab_variants v
WHERE e.id = CAST(:experiment_id AS uuid) AND v.experiment_id = e.id
  AND v.variant_name = :winner
RETURNING v.model_version;

-- name: latest_result
-- What the last look at an experiment found, in the shape that applications know.
SELECT e.id, d.id AS decision_id, d.details -> 'result' AS result
FROM ab_experiments e
LEFT JOIN headway.decision d ON d.id = (
    SELECT max(vm.decision_id) FROM variant_metric vm WHERE vm.experiment_id = e.id
)
WHERE e.experiment_name = :name;
