-- name: moments
-- The sufficient statistics of the metrics that experiments have, arm by arm, the control first.
SELECT s.experiment_id::text AS experiment_id, s.metric_id::text AS metric_id,
       s.variant_id::text AS variant_id, v.variant_name AS variant, v.is_control,
       s.dimension, s.level, s.assigned, s.events, s.converted, s.n, s.mean, s.m2,
       s.denominator_mean, s.denominator_m2, s.denominator_c2,
       s.covariate_mean, s.covariate_m2, s.covariate_c2
FROM moment_statistic s
JOIN experiment_metric em USING (experiment_id, metric_id)
JOIN ab_variants v ON v.id = s.variant_id
WHERE s.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
  AND (:is_with_levels OR s.dimension = '')
ORDER BY s.experiment_id, s.metric_id, v.is_control DESC, v.variant_name, s.dimension, s.level;

-- name: quantiles
-- How many values each arm has, and the quantile of them.
SELECT variant_id::text AS variant_id, count(*) AS n,
       percentile_cont(:quantile) WITHIN GROUP (ORDER BY value) AS value
FROM unit_value
WHERE experiment_id = CAST(:experiment_id AS uuid) AND metric_id = CAST(:metric_id AS uuid)
  AND value IS NOT NULL
GROUP BY variant_id ORDER BY variant_id;

-- name: ranked_values
-- The values at some ranks, counted from 1, of each arm.
SELECT v.variant_id::text AS variant_id, r.rank, v.value
FROM (
    SELECT variant_id, value, row_number() OVER (PARTITION BY variant_id ORDER BY value) AS rank
    FROM unit_value
    WHERE experiment_id = CAST(:experiment_id AS uuid) AND metric_id = CAST(:metric_id AS uuid)
      AND value IS NOT NULL
) v
JOIN unnest(CAST(:variant_ids AS uuid[]), CAST(:ranks AS bigint[])) r (variant_id, rank)
    ON r.variant_id = v.variant_id AND r.rank = v.rank
ORDER BY v.variant_id, r.rank;

-- name: folded_experiments
-- Experiments that run or pause and have a metric, or the one that is asked for.
SELECT e.id::text AS id, e.experiment_name AS name
FROM ab_experiments e
WHERE EXISTS (SELECT FROM experiment_metric em WHERE em.experiment_id = e.id)
  AND CASE WHEN CAST(:experiment AS text) IS NULL THEN e.status IN ('active', 'paused')
           ELSE e.experiment_name = :experiment END
ORDER BY e.experiment_name;
