-- name: exposed_experiment
-- An experiment with its primary metric, until when its units are known, and for how many days half
-- of them have been there.
SELECT e.id, e.experiment_name AS name, headway.clock_now() AS now, u.until,
       m.name AS metric, m.kind, m.event_type, em.alpha, f.cap,
       CASE WHEN m.kind IN ('proportion', 'retention') THEN 'any'
            ELSE m.aggregation::text END AS aggregation,
       m.kind IN ('proportion', 'retention') OR m.missing = 'zero' AS is_zero_if_missing,
       m.window_start_hours, m.window_hours, m.kind = 'ratio' AS is_ratio,
       CASE WHEN m.kind = 'ratio' THEN COALESCE(m.denominator_event_type, m.event_type)
       END AS denominator_event_type,
       COALESCE(m.denominator_aggregation::text, 'count') AS denominator_aggregation,
       followed.units, followed.half_seconds,
       EXISTS (
           SELECT FROM ab_variants v WHERE v.experiment_id = e.id AND v.is_control
       ) AS has_control,
       EXISTS (
           SELECT FROM allocation_weight w
           WHERE w.experiment_id = e.id
           GROUP BY w.variant_id
           HAVING min(w.weight) <> max(w.weight)
       ) AS has_moved
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN fold_state f ON f.experiment_id = em.experiment_id AND f.metric_id = em.metric_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN f.folded_at IS NOT NULL
                THEN LEAST(f.folded_at, e.completed_at, headway.clock_now()) END AS until
) u
CROSS JOIN LATERAL (
    SELECT count(*) AS units,
           percentile_disc(0.5) WITHIN GROUP (
               ORDER BY date_part('epoch', u.until - a.assigned_at) DESC
           ) AS half_seconds
    FROM ab_assignments a
    WHERE a.experiment_id = e.id AND NOT a.is_override
) followed
WHERE e.experiment_name = :name;

-- name: exposure_days
-- What the units of each arm did on each day since their assignment, of those that were followed
-- for all of these days: the joint moments of value and denominator, a row a day, of the units that
-- have one; and beside them the moments of the units' parts in the slope over the days. Units that
-- did nothing are only counted. A day has 24 hours.
WITH unit AS NOT MATERIALIZED (
    SELECT a.id, a.variant_id, a.assigned_at
    FROM ab_assignments a
    WHERE a.experiment_id = :experiment_id AND NOT a.is_override
      AND a.assigned_at <= CAST(:until AS timestamptz) - make_interval(hours => 24 * CAST(:days AS integer))
), measured AS (
    SELECT u.id, u.variant_id, t.day, {value} AS value, {denominator} AS denominator
    FROM unit u
    JOIN ab_metrics m ON m.assignment_id = u.id
    CROSS JOIN LATERAL (
        SELECT floor(date_part('epoch', m.event_timestamp - u.assigned_at) / 86400)::integer AS day
    ) t
    WHERE m.event_type IN (:event_type, :denominator_event_type)
      AND t.day BETWEEN CAST(:first_day AS integer) AND CAST(:days AS integer) - 1
    GROUP BY u.id, u.variant_id, t.day
), own AS MATERIALIZED (
    SELECT id, variant_id, day,
           CASE WHEN value > CAST(:cap AS float8) THEN CAST(:cap AS float8) ELSE value END AS y, x
    FROM (
        SELECT id, variant_id, day,
               -- As units are folded: a ratio's unit is one that has a denominator.
               COALESCE(value, CASE WHEN :is_zero_if_missing OR :is_zero_if_divided
                                    THEN 0 END) AS value,
               CASE WHEN NOT :is_ratio THEN 1.0::float8
                    ELSE COALESCE(denominator, CASE WHEN :is_zero_if_missing THEN 0 END) END AS x
        FROM measured
    ) filled
    WHERE value IS NOT NULL AND x IS NOT NULL
), daily AS (
    SELECT variant_id, day, count(*) AS n, avg(y) AS mean, var_pop(y) * count(*) AS m2,
           avg(x) AS x_mean, var_pop(x) * count(*) AS x_m2, covar_pop(y, x) * count(*) AS c2
    FROM own GROUP BY variant_id, day
), sized AS (
    SELECT variant_id, count(*) AS units FROM unit GROUP BY variant_id
), weight AS (
    -- What value and denominator of a day weigh in the slope; by the delta method, where the
    -- denominator is not one for each unit.
    SELECT s.variant_id,
           array_agg(l.weight * q.share ORDER BY g.day) AS of_value,
           array_agg(l.weight * q.share * q.ratio ORDER BY g.day) AS of_denominator
    FROM sized s
    CROSS JOIN generate_series(CAST(:first_day AS integer), CAST(:days AS integer) - 1) AS g (day)
    LEFT JOIN daily d ON d.variant_id = s.variant_id AND d.day = g.day
    CROSS JOIN LATERAL (
        SELECT (g.day - CAST(:middle AS float8)) / CAST(:spread AS float8) AS weight
    ) l
    CROSS JOIN LATERAL (
        SELECT CASE WHEN :is_everybody THEN 1.0::float8
                    ELSE s.units / (d.n * NULLIF(d.x_mean, 0)) END AS share,
               CASE WHEN :is_everybody THEN 0.0::float8
                    ELSE d.mean / NULLIF(d.x_mean, 0) END AS ratio
    ) q
    GROUP BY s.variant_id
), part AS (
    SELECT o.variant_id,
           sum(w.of_value[o.day + 1 - CAST(:first_day AS integer)] * o.y
               - w.of_denominator[o.day + 1 - CAST(:first_day AS integer)] * o.x) AS slope
    FROM own o
    JOIN weight w USING (variant_id)
    GROUP BY o.id, o.variant_id
), slopes AS (
    SELECT variant_id, count(slope) AS n, avg(slope) AS mean, var_pop(slope) * count(slope) AS m2
    FROM part GROUP BY variant_id
)
SELECT v.variant_name AS arm, v.is_control, COALESCE(s.units, 0) AS units, g.day,
       COALESCE(d.n, 0) AS n, COALESCE(d.mean, 0) AS mean, COALESCE(d.m2, 0) AS m2,
       COALESCE(d.x_mean, 0) AS x_mean, COALESCE(d.x_m2, 0) AS x_m2, COALESCE(d.c2, 0) AS c2,
       COALESCE(p.n, 0) AS slope_n, COALESCE(p.mean, 0) AS slope_mean,
       COALESCE(p.m2, 0) AS slope_m2
FROM ab_variants v
CROSS JOIN generate_series(CAST(:first_day AS integer), CAST(:days AS integer) - 1) AS g (day)
LEFT JOIN sized s ON s.variant_id = v.id
LEFT JOIN daily d ON d.variant_id = v.id AND d.day = g.day
LEFT JOIN slopes p ON p.variant_id = v.id
WHERE v.experiment_id = :experiment_id
ORDER BY v.is_control DESC, v.variant_name, g.day;

-- name: room_to_hash
-- Units and their days are grouped: with little memory, on disk. To compile such a statement takes
-- longer than it saves. For this transaction only.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true);
