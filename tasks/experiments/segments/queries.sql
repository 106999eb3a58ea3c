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

-- name: segment_epochs
-- Who came into each level while each split held, of a split that has moved: one row an arm, of
-- epochs in which anybody came. Single units are read; levels and caps are those that were folded.
WITH asked AS MATERIALIZED (
    SELECT m.id AS metric_id, m.name AS metric, f.cap,
           m.denominator_event_type IS NOT NULL AS has_denominator,
           m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL AS has_covariate
    FROM experiment_metric em
    JOIN metric m ON m.id = em.metric_id
    LEFT JOIN fold_state f ON f.experiment_id = em.experiment_id AND f.metric_id = em.metric_id
    WHERE em.experiment_id = CAST(:experiment_id AS uuid)
      AND m.name = ANY(CAST(:metrics AS text[]))
), kept AS MATERIALIZED (
    SELECT DISTINCT s.metric_id, s.dimension, s.level
    FROM moment_statistic s
    WHERE s.experiment_id = CAST(:experiment_id AS uuid) AND s.dimension NOT IN ('', 'epoch')
), cell AS MATERIALIZED (
    SELECT metric_id, dimension, level, epoch, variant_id, {moments}
    FROM (
        SELECT u.metric_id, l.key AS dimension, COALESCE(k.level, '(other)') AS level, u.epoch,
               u.variant_id, u.events, least(u.value, a.cap) AS value, u.denominator, u.covariate
        FROM unit_value u
        JOIN asked a USING (metric_id)
        CROSS JOIN LATERAL jsonb_each_text(u.levels) l
        LEFT JOIN kept k
            ON k.metric_id = u.metric_id AND k.dimension = l.key AND k.level = l.value
        WHERE u.experiment_id = CAST(:experiment_id AS uuid) AND u.value IS NOT NULL
          AND u.levels IS NOT NULL
    ) unit
    GROUP BY metric_id, dimension, level, epoch, variant_id
)
SELECT a.metric, c.dimension, c.level, c.epoch, v.variant_name AS name,
       COALESCE(w.weight, 0) > 0 AS is_offered, COALESCE(s.n, 0) AS n,
       COALESCE(s.mean, 0) AS mean, COALESCE(s.m2, 0) AS m2, a.has_denominator, a.has_covariate,
       COALESCE(s.denominator_mean, 0) AS denominator_mean,
       COALESCE(s.denominator_m2, 0) AS denominator_m2,
       COALESCE(s.denominator_c2, 0) AS denominator_c2,
       COALESCE(s.covariate_mean, 0) AS covariate_mean,
       COALESCE(s.covariate_m2, 0) AS covariate_m2,
       COALESCE(s.covariate_c2, 0) AS covariate_c2
FROM (SELECT DISTINCT metric_id, dimension, level, epoch FROM cell) c
JOIN asked a USING (metric_id)
JOIN ab_variants v ON v.experiment_id = CAST(:experiment_id AS uuid)
LEFT JOIN allocation_weight w
    ON w.experiment_id = v.experiment_id AND w.epoch = c.epoch AND w.variant_id = v.id
LEFT JOIN cell s
    ON s.metric_id = c.metric_id AND s.dimension = c.dimension AND s.level = c.level
   AND s.epoch = c.epoch AND s.variant_id = v.id
ORDER BY a.metric, c.dimension, c.level, c.epoch;

-- name: room_to_hash
-- Units are grouped by level and epoch: with little memory, on disk. To compile such a statement
-- takes longer than it saves. For this transaction only.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true);

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
