-- name: unit_values
-- A fragment: what control units did lately, `filled`, of those whose window is over; and all units
-- of the experiments that measure it, `unit`.
measuring AS (
    SELECT DISTINCT em.experiment_id
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE m.event_type = :event_type
), unit AS (
    SELECT a.id, a.experiment_id, a.assigned_at, v.is_control,
           a.metadata -> CAST(:covariate_attribute AS text) AS attribute,
           a.assigned_at + make_interval(secs => 3600 * CAST(:window_start AS float8)) AS opens_at,
           a.assigned_at + make_interval(secs => 3600 * CAST(:window_end AS float8)) AS closes_at
    FROM measuring JOIN ab_assignments a USING (experiment_id)
    JOIN ab_variants v ON v.id = a.variant_id
    WHERE NOT a.is_override
      AND a.assigned_at > headway.clock_now() - make_interval(days => :days)
      AND a.assigned_at <= headway.clock_now()
), side (name, event_type, aggregation) AS (
    VALUES ('value', CAST(:event_type AS text), CAST(:aggregation AS text)),
           ('denominator', CAST(:denominator_event_type AS text),
            CAST(:denominator_aggregation AS text)),
           ('covariate', CASE WHEN CAST(:covariate_days AS integer) IS NOT NULL
                              THEN CAST(:event_type AS text) END, CAST(:aggregation AS text))
), aggregated AS (
    SELECT u.id, side.name,
           CASE side.aggregation
               WHEN 'sum' THEN sum(m.event_value)
               WHEN 'mean' THEN avg(m.event_value)
               WHEN 'min' THEN min(m.event_value)
               WHEN 'max' THEN max(m.event_value)
               WHEN 'count' THEN NULLIF(count(m.id), 0)
               WHEN 'any' THEN CASE WHEN count(m.id) > 0 THEN 1.0 END
               WHEN 'first' THEN (array_agg(m.event_value ORDER BY m.event_timestamp, m.event_value)
                                  FILTER (WHERE m.event_value IS NOT NULL))[1]
               WHEN 'last' THEN (array_agg(m.event_value
                                           ORDER BY m.event_timestamp DESC, m.event_value DESC)
                                 FILTER (WHERE m.event_value IS NOT NULL))[1]
           END AS value
    FROM unit u CROSS JOIN side
    CROSS JOIN LATERAL (
        SELECT u.opens_at, u.closes_at WHERE side.name <> 'covariate'
        UNION ALL
        SELECT u.assigned_at - make_interval(days => CAST(:covariate_days AS integer)),
               u.assigned_at
        WHERE side.name = 'covariate'
    ) counts (opens_at, closes_at)
    LEFT JOIN ab_metrics m ON m.assignment_id = u.id AND m.event_type = side.event_type
        AND m.event_timestamp >= counts.opens_at
        AND (counts.closes_at IS NULL OR m.event_timestamp < counts.closes_at)
        AND (m.event_value IS NULL OR abs(m.event_value) <= 1e140)
    WHERE u.is_control AND (u.closes_at IS NULL OR u.closes_at <= headway.clock_now())
    GROUP BY u.id, side.name, side.aggregation
), told AS (
    SELECT id, max(value) FILTER (WHERE name = 'value') AS value,
           max(value) FILTER (WHERE name = 'denominator') AS denominator,
           max(value) FILTER (WHERE name = 'covariate') AS covariate
    FROM aggregated GROUP BY id
), filled AS (
    -- As units are folded: a ratio's unit is one that has a denominator.
    SELECT CASE WHEN CAST(:missing AS text) = 'zero' THEN COALESCE(t.value, 0)
                WHEN CAST(:denominator_event_type AS text) IS NULL THEN t.value
                WHEN t.denominator IS NULL THEN NULL
                WHEN CAST(:aggregation AS text) IN ('sum', 'count', 'any') THEN COALESCE(t.value, 0)
                ELSE t.value END AS value,
           COALESCE(t.denominator, 0) AS denominator,
           CASE WHEN CAST(:covariate_days AS integer) IS NOT NULL THEN COALESCE(t.covariate, 0)
                WHEN CAST(:covariate_attribute AS text) IS NULL THEN NULL
                WHEN abs(read.x) BETWEEN 1e-140 AND 1e140 THEN read.x::float8
                ELSE 0 END AS covariate
    FROM told t JOIN unit u USING (id)
    CROSS JOIN LATERAL (
        SELECT CASE jsonb_typeof(u.attribute)
            WHEN 'number' THEN (u.attribute #>> '{}')::numeric
            WHEN 'boolean' THEN (u.attribute #>> '{}')::boolean::integer
            WHEN 'string' THEN substring(
                u.attribute #>> '{}', '^-?\d{1,15}(?:\.\d{1,15})?$'
            )::numeric END
    ) read (x)
)

-- name: history
-- What units did lately by which a metric can be foreseen: values of control units whose window is
-- over, and how many units a day the busiest of the experiments saw. Values are capped first.
WITH {unit_values}, cap AS (
    SELECT percentile_cont(CAST(:cap_quantile AS float8)) WITHIN GROUP (ORDER BY value) AS cap
    FROM filled
), traffic AS (
    SELECT count(*) / COALESCE(p.traffic_fraction, 1) / COALESCE(s.upper_bound - s.lower_bound, 1)
           / greatest(1, extract(epoch FROM headway.clock_now() - min(u.assigned_at)) / 86400)
           AS units_a_day
    FROM unit u
    LEFT JOIN experiment_plan p USING (experiment_id)
    LEFT JOIN layer_slot s USING (experiment_id)
    GROUP BY u.experiment_id, p.traffic_fraction, s.lower_bound, s.upper_bound
)
SELECT count(*) AS units, count(value) AS n,
       avg(capped) AS mean, var_samp(capped) AS variance,
       avg(denominator) FILTER (WHERE value IS NOT NULL) AS denominator_mean,
       var_samp(denominator) FILTER (WHERE value IS NOT NULL) AS denominator_variance,
       covar_samp(capped, denominator) AS covariance, corr(capped, covariate) AS correlation,
       percentile_cont(CAST(:quantile AS float8)) WITHIN GROUP (ORDER BY value) AS at_quantile,
       (SELECT max(units_a_day)::float8 FROM traffic) AS units_a_day
FROM filled CROSS JOIN cap
CROSS JOIN LATERAL (SELECT CASE WHEN value > cap THEN cap ELSE value END AS capped) AS cut;

-- name: ranked_values
-- The same values at some ranks, counted from 1.
WITH {unit_values}
SELECT value
FROM (
    SELECT value, row_number() OVER (ORDER BY value) AS rank FROM filled WHERE value IS NOT NULL
) v
WHERE rank = ANY(:ranks)
ORDER BY rank;
