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
-- did nothing are only counted. A day has 24 hours. Where the split has moved, who came while each
-- split held is one intake, else all are.
WITH unit AS NOT MATERIALIZED (
    SELECT a.id, a.variant_id, a.assigned_at,
           CASE WHEN :has_moved THEN COALESCE(a.epoch, (
               SELECT max(l.epoch) FROM allocation l
               WHERE l.experiment_id = a.experiment_id AND l.started_at <= a.assigned_at
           ), 1) ELSE 0 END AS epoch
    FROM ab_assignments a
    WHERE a.experiment_id = :experiment_id AND NOT a.is_override
      AND a.assigned_at <= CAST(:until AS timestamptz) - make_interval(hours => 24 * CAST(:days AS integer))
), measured AS (
    SELECT u.id, u.variant_id, u.epoch, t.day, {value} AS value, {denominator} AS denominator
    FROM unit u
    JOIN ab_metrics m ON m.assignment_id = u.id
    CROSS JOIN LATERAL (
        SELECT floor(date_part('epoch', m.event_timestamp - u.assigned_at) / 86400)::integer AS day
    ) t
    WHERE m.event_type IN (:event_type, :denominator_event_type)
      AND t.day BETWEEN CAST(:first_day AS integer) AND CAST(:days AS integer) - 1
    GROUP BY u.id, u.variant_id, u.epoch, t.day
), own AS MATERIALIZED (
    SELECT id, variant_id, epoch, day,
           CASE WHEN value > CAST(:cap AS float8) THEN CAST(:cap AS float8) ELSE value END AS y, x
    FROM (
        SELECT id, variant_id, epoch, day,
               -- As units are folded: a ratio's unit is one that has a denominator.
               COALESCE(value, CASE WHEN :is_zero_if_missing OR :is_zero_if_divided
                                    THEN 0 END) AS value,
               CASE WHEN NOT :is_ratio THEN 1.0::float8
                    ELSE COALESCE(denominator, CASE WHEN :is_zero_if_missing THEN 0 END) END AS x
        FROM measured
    ) filled
    WHERE value IS NOT NULL AND x IS NOT NULL
), daily AS (
    SELECT variant_id, epoch, day, count(*) AS n, avg(y) AS mean, var_pop(y) * count(*) AS m2,
           avg(x) AS x_mean, var_pop(x) * count(*) AS x_m2, covar_pop(y, x) * count(*) AS c2
    FROM own GROUP BY variant_id, epoch, day
), sized AS (
    SELECT s.*, sum(units) OVER (PARTITION BY epoch) AS traffic
    FROM (
        SELECT variant_id, epoch, count(*) AS units FROM unit GROUP BY variant_id, epoch
    ) s
), usual AS (
    -- What a unit of the arm does on a day, intakes weighted by the units of all arms.
    SELECT s.variant_id, g.day, sum(s.traffic * d.n * d.mean / s.units) / sum(s.traffic) AS y,
           NULLIF(sum(s.traffic * d.n * d.x_mean / s.units), 0) / sum(s.traffic) AS x
    FROM sized s
    CROSS JOIN generate_series(CAST(:first_day AS integer), CAST(:days AS integer) - 1) AS g (day)
    LEFT JOIN daily d ON d.variant_id = s.variant_id AND d.epoch = s.epoch AND d.day = g.day
    GROUP BY s.variant_id, g.day
), weight AS (
    -- What value and denominator of a day weigh in the slope; by the delta method, where the
    -- denominator is not one for each unit.
    SELECT variant_id, array_agg(l.weight * q.share ORDER BY day) AS of_value,
           array_agg(l.weight * q.share * q.ratio ORDER BY day) AS of_denominator,
           sum(l.weight * q.ratio) AS slope
    FROM usual
    CROSS JOIN LATERAL (
        SELECT (day - CAST(:middle AS float8)) / CAST(:spread AS float8) AS weight
    ) l
    CROSS JOIN LATERAL (
        SELECT CASE WHEN :is_everybody THEN 1.0::float8 ELSE 1 / x END AS share,
               CASE WHEN :is_everybody THEN 0.0::float8 ELSE y / x END AS ratio
    ) q
    GROUP BY variant_id
), part AS (
    SELECT o.variant_id, o.epoch,
           sum(w.of_value[o.day + 1 - CAST(:first_day AS integer)] * o.y
               - w.of_denominator[o.day + 1 - CAST(:first_day AS integer)] * o.x) AS slope
    FROM own o
    JOIN weight w USING (variant_id)
    GROUP BY o.id, o.variant_id, o.epoch
), slopes AS (
    SELECT variant_id, epoch, count(slope) AS n, avg(slope) AS mean,
           var_pop(slope) * count(slope) AS m2
    FROM part GROUP BY variant_id, epoch
), intake AS (
    SELECT epoch FROM sized
    UNION
    SELECT 0 WHERE NOT EXISTS (SELECT FROM sized)
)
SELECT i.epoch, v.variant_name AS arm, v.is_control, COALESCE(a.weight, 0) > 0 AS is_offered,
       COALESCE(s.units, 0) AS units, w.slope AS usual_slope, g.day,
       COALESCE(d.n, 0) AS n, COALESCE(d.mean, 0) AS mean, COALESCE(d.m2, 0) AS m2,
       COALESCE(d.x_mean, 0) AS x_mean, COALESCE(d.x_m2, 0) AS x_m2, COALESCE(d.c2, 0) AS c2,
       COALESCE(p.n, 0) AS slope_n, COALESCE(p.mean, 0) AS slope_mean,
       COALESCE(p.m2, 0) AS slope_m2
FROM ab_variants v
CROSS JOIN intake i
CROSS JOIN generate_series(CAST(:first_day AS integer), CAST(:days AS integer) - 1) AS g (day)
LEFT JOIN allocation_weight a
    ON a.experiment_id = v.experiment_id AND a.epoch = i.epoch AND a.variant_id = v.id
LEFT JOIN sized s ON s.variant_id = v.id AND s.epoch = i.epoch
LEFT JOIN daily d ON d.variant_id = v.id AND d.epoch = i.epoch AND d.day = g.day
LEFT JOIN slopes p ON p.variant_id = v.id AND p.epoch = i.epoch
LEFT JOIN weight w ON w.variant_id = v.id
WHERE v.experiment_id = :experiment_id
ORDER BY i.epoch, v.is_control DESC, v.variant_name, g.day;

-- name: room_to_hash
-- Units and their days are grouped: with little memory, on disk. To compile such a statement takes
-- longer than it saves. For this transaction only.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true);
