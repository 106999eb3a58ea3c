-- name: segmented_experiment
-- One experiment with its dimensions, and whether the split of its traffic ever moved.
SELECT e.id, e.experiment_name AS name, COALESCE(p.dimensions, '{}') AS dimensions,
       headway.clock_now() AS now,
       EXISTS (
           SELECT FROM allocation_weight w
           WHERE w.experiment_id = e.id
           GROUP BY w.variant_id
           HAVING min(w.weight) <> max(w.weight)
       ) AS has_moved,
       ARRAY(
           SELECT child.experiment_name
           FROM experiment_plan own JOIN ab_experiments child ON child.id = own.experiment_id
           WHERE own.segment_of = e.experiment_name
           ORDER BY child.experiment_name
       ) AS cut_out
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.experiment_name = :name;

-- name: segment_cells
-- Every metric in every level of every dimension, one row an arm; a metric without levels is one
-- row an arm with nothing in it.
SELECT m.name AS metric, em.role::text AS role, m.kind, em.alpha, m.is_higher_better,
       v.variant_name AS arm, v.is_control, f.folded_at IS NOT NULL AS is_folded,
       s.dimension, s.level, s.n, s.mean, s.m2,
       m.denominator_event_type IS NOT NULL AS has_denominator,
       m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL AS has_covariate,
       s.denominator_mean, s.denominator_m2, s.denominator_c2,
       s.covariate_mean, s.covariate_m2, s.covariate_c2
FROM experiment_metric em
JOIN metric m ON m.id = em.metric_id
JOIN ab_variants v ON v.experiment_id = em.experiment_id
LEFT JOIN fold_state f ON f.experiment_id = em.experiment_id AND f.metric_id = em.metric_id
LEFT JOIN moment_statistic s
    ON s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id AND s.variant_id = v.id
   AND s.dimension NOT IN ('', 'epoch') AND s.n > 0
WHERE em.experiment_id = :experiment_id
ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'], em.role::text), m.name,
         v.is_control DESC, v.variant_name, s.dimension, s.level;

-- name: segment_level
-- A level of a dimension among an experiment's units: how many have it, of how many, and the JSON
-- values that it stands for.
SELECT count(*) AS units, count(*) FILTER (WHERE x.is_level) AS level_units,
       COALESCE(
           jsonb_agg(DISTINCT a.metadata -> CAST(:dimension AS text)) FILTER (WHERE x.is_level),
           '[]'
       ) AS held
FROM ab_assignments a
CROSS JOIN LATERAL (
    SELECT a.metadata ->> CAST(:dimension AS text) = CAST(:level AS text) AS is_level
) x
WHERE a.experiment_id = :experiment_id AND NOT a.is_override;

-- name: largest_levels
-- The levels of a dimension that most units have, to name in a refusal.
SELECT a.metadata ->> CAST(:dimension AS text) AS level
FROM ab_assignments a
WHERE a.experiment_id = :experiment_id AND NOT a.is_override
  AND a.metadata ->> CAST(:dimension AS text) IS NOT NULL
GROUP BY 1
ORDER BY count(*) DESC, 1
LIMIT 20;

-- name: first_split
-- The split that an experiment began with; nothing where it has not begun.
SELECT v.variant_name AS name, w.weight
FROM allocation_weight w
JOIN ab_variants v ON v.id = w.variant_id
WHERE w.experiment_id = :experiment_id
  AND w.epoch = (SELECT min(epoch) FROM allocation WHERE experiment_id = :experiment_id);
