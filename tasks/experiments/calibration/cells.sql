-- name: subject
-- A metric of an experiment: how it is compared and decided by, and the two arms to draw. A bandit's
-- split is the one that it started with: the later ones follow its figures.
SELECT e.id AS experiment_id, e.experiment_name AS experiment, m.id AS metric_id, m.name AS metric,
       m.kind, em.role::text AS role, em.alpha, m.is_higher_better,
       m.quantile IS NOT NULL AS is_quantile, f.cap,
       COALESCE(p.method, 'group_sequential') AS method,
       COALESCE(p.method_options, '{}') AS method_options,
       COALESCE(p.reserved_alpha, 0) AS reserved_alpha, COALESCE(p.power, 0.8) AS power,
       CASE WHEN m.denominator_event_type IS NOT NULL OR m.kind = 'ratio' THEN 'denominator'
            WHEN m.covariate_days IS NOT NULL OR m.covariate_attribute IS NOT NULL THEN 'covariate'
       END AS second_value,
       (SELECT v.id FROM ab_variants v WHERE v.experiment_id = e.id AND v.is_control) AS control_id,
       split.control_weight, split.treatment_weight
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id
JOIN metric m ON m.id = em.metric_id
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN fold_state f ON f.experiment_id = e.id AND f.metric_id = m.id
CROSS JOIN LATERAL (
    SELECT max(COALESCE(w.weight, v.traffic_weight)) FILTER (WHERE v.is_control) AS control_weight,
           min(COALESCE(w.weight, v.traffic_weight)) FILTER (
               WHERE NOT v.is_control AND COALESCE(w.weight, v.traffic_weight) > 0
           ) AS treatment_weight
    FROM ab_variants v
    LEFT JOIN allocation_weight w
        ON w.variant_id = v.id AND w.epoch = 1 AND p.bandit IS NOT NULL
    WHERE v.experiment_id = e.id
) split
WHERE e.id = CAST(:experiment_id AS uuid) AND m.id = CAST(:metric_id AS uuid);

-- name: make_room
-- Room to sort all units of an experiment.
SELECT set_config('work_mem', '128MB', true), set_config('jit', 'off', true);

-- name: cells
-- The control's units, grouped by how early they came and by their values, capped. Few values, and
-- those that many of a look have: one cell for each. The others: cells of equal shares of the
-- deviations, and parted again into those of their squares, so that one that weighs much stands
-- alone. Units without a value are a cell too.
WITH unit AS (
    SELECT CASE WHEN u.value > CAST(:cap AS float8) THEN CAST(:cap AS float8) ELSE u.value END
               AS value,
           CASE WHEN u.value IS NULL THEN NULL
                WHEN CAST(:second_value AS text) = 'denominator' THEN u.denominator
                WHEN CAST(:second_value AS text) = 'covariate' THEN u.covariate END AS other,
           ntile(:looks) OVER (ORDER BY a.assigned_at, a.user_id) AS look
    FROM unit_value u
    JOIN ab_assignments a ON a.id = u.assignment_id
    WHERE u.experiment_id = CAST(:experiment_id AS uuid) AND u.metric_id = CAST(:metric_id AS uuid)
      AND u.variant_id = CAST(:control_id AS uuid) AND u.matures_at IS NULL
), alike AS MATERIALIZED (
    SELECT look, value, other, count(*) AS units FROM unit GROUP BY look, value, other
), centred AS MATERIALIZED (
    -- Once, not for every row of what it is joined with; so is the next one.
    SELECT count(*) AS values, sum(units)::float8 AS units, sum(units * value) / sum(units) FILTER (
               WHERE value IS NOT NULL) AS mean,
           sum(units * other) / sum(units) FILTER (WHERE other IS NOT NULL) AS other_mean
    FROM alike
), whole AS MATERIALIZED (
    SELECT c.values <= :exact AS is_exact, c.units / :looks / 100 AS many, c.mean, c.other_mean,
           NULLIF(sum(a.units * abs(a.value - c.mean)), 0) AS m1,
           NULLIF(sum(a.units * (a.value - c.mean) ^ 2), 0) AS m2,
           NULLIF(sum(a.units * abs(a.other - c.other_mean)), 0) AS other_m1,
           NULLIF(sum(a.units * (a.other - c.other_mean) ^ 2), 0) AS other_m2
    FROM alike a CROSS JOIN centred c
    GROUP BY c.values, c.units, c.mean, c.other_mean
), placed AS (
    SELECT a.*, a.value - w.mean AS x, a.other - w.other_mean AS y, w.mean AS middle,
           w.other_mean AS other_middle, w.is_exact OR a.units >= w.many AS is_alone,
           ceil(:shares * sum(a.units * abs(a.value - w.mean)) OVER by_value / w.m1)
           + ceil(:shares * sum(a.units * (a.value - w.mean) ^ 2) OVER by_value / w.m2) AS place,
           ceil(:shares * sum(a.units * abs(a.other - w.other_mean)) OVER by_other / w.other_m1)
           + ceil(:shares * sum(a.units * (a.other - w.other_mean) ^ 2) OVER by_other / w.other_m2)
               AS other_place
    FROM alike a CROSS JOIN whole w
    WINDOW by_value AS (ORDER BY a.value), by_other AS (ORDER BY a.other)
), cell AS (
    SELECT look, value IS NOT NULL AS has_value, other IS NOT NULL AS has_other,
           sum(units)::float8 AS units, middle, other_middle,
           min(value) < max(value) AS varies, min(other) < max(other) AS other_varies,
           min(value) AS value, min(other) AS other,
           sum(units * x) / sum(units) AS x, sum(units * x ^ 2) AS xx,
           sum(units * y) / sum(units) AS y, sum(units * y ^ 2) AS yy, sum(units * x * y) AS xy
    FROM placed
    GROUP BY look, value IS NOT NULL, other IS NOT NULL, is_alone, middle, other_middle,
             CASE WHEN is_alone THEN value ELSE place END,
             CASE WHEN is_alone THEN other ELSE other_place END
)
SELECT look - 1 AS look, units::bigint AS units, has_value, has_other,
       -- Rounding must not look like a spread where there is none.
       COALESCE(CASE WHEN varies THEN middle + x ELSE value END, 0) AS mean,
       CASE WHEN varies THEN greatest(0, xx - units * x ^ 2) ELSE 0 END AS m2,
       COALESCE(CASE WHEN other_varies THEN other_middle + y ELSE other END, 0) AS other_mean,
       CASE WHEN other_varies THEN greatest(0, yy - units * y ^ 2) ELSE 0 END AS other_m2,
       CASE WHEN varies AND other_varies THEN xy - units * x * y ELSE 0 END AS co_m2
FROM cell
ORDER BY look, has_value, has_other, mean, other_mean, units;

-- name: commonest
-- How many units have the value that most of them have.
SELECT COALESCE(max(units), 0) AS units
FROM (
    SELECT count(*) AS units
    FROM unit_value
    WHERE experiment_id = CAST(:experiment_id AS uuid) AND metric_id = CAST(:metric_id AS uuid)
      AND variant_id = CAST(:control_id AS uuid) AND matures_at IS NULL AND value IS NOT NULL
    GROUP BY CASE WHEN value > CAST(:cap AS float8) THEN CAST(:cap AS float8) ELSE value END
) alike;
