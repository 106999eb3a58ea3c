-- name: history
-- What units did lately by which a metric can be foreseen: values of control units whose window is
-- over, and how many units a day the busiest of the experiments saw. Values are capped first.
WITH measuring AS (
    SELECT DISTINCT em.experiment_id
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE m.event_type = :event_type
), unit AS (
    SELECT a.id, a.experiment_id, a.assigned_at, v.is_control,
           a.assigned_at + make_interval(secs => 3600 * CAST(:window_start AS float8)) AS opens_at,
           a.assigned_at + make_interval(secs => 3600 * CAST(:window_end AS float8)) AS closes_at
    FROM measuring JOIN ab_assignments a USING (experiment_id)
    JOIN ab_variants v ON v.id = a.variant_id
    WHERE NOT a.is_override
      AND a.assigned_at > headway.clock_now() - make_interval(days => :days)
      AND a.assigned_at <= headway.clock_now()
), side (is_denominator, event_type, aggregation) AS (
    VALUES (false, CAST(:event_type AS text), CAST(:aggregation AS text)),
           (true, CAST(:denominator_event_type AS text), CAST(:denominator_aggregation AS text))
), aggregated AS (
    SELECT u.id, side.is_denominator,
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
    LEFT JOIN ab_metrics m ON m.assignment_id = u.id AND m.event_type = side.event_type
        AND m.event_timestamp >= u.opens_at
        AND (u.closes_at IS NULL OR m.event_timestamp < u.closes_at)
        AND (m.event_value IS NULL OR abs(m.event_value) < 'Infinity')
    WHERE u.is_control AND (u.closes_at IS NULL OR u.closes_at <= headway.clock_now())
    GROUP BY u.id, side.is_denominator, side.aggregation
), filled AS (
    SELECT CASE WHEN CAST(:missing AS text) = 'zero' THEN COALESCE(top.value, 0)
                ELSE top.value END AS value,
           COALESCE(bottom.value, 0) AS denominator
    FROM aggregated top JOIN aggregated bottom USING (id)
    WHERE NOT top.is_denominator AND bottom.is_denominator
), cap AS (
    SELECT percentile_cont(CAST(:cap_quantile AS float8)) WITHIN GROUP (ORDER BY value) AS cap
    FROM filled
), traffic AS (
    SELECT count(*) / COALESCE(p.traffic_fraction, 1)
           / greatest(1, extract(epoch FROM headway.clock_now() - min(u.assigned_at)) / 86400)
           AS units_a_day
    FROM unit u LEFT JOIN experiment_plan p USING (experiment_id)
    GROUP BY u.experiment_id, p.traffic_fraction
)
SELECT count(*) AS units, count(value) AS n,
       avg(capped) AS mean, var_samp(capped) AS variance,
       avg(denominator) AS denominator_mean, var_samp(denominator) AS denominator_variance,
       covar_samp(capped, denominator) AS covariance,
       percentile_cont(CAST(:quantile AS float8)) WITHIN GROUP (ORDER BY value) AS at_quantile,
       (SELECT max(units_a_day)::float8 FROM traffic) AS units_a_day
FROM filled CROSS JOIN cap
CROSS JOIN LATERAL (SELECT CASE WHEN value > cap THEN cap ELSE value END AS capped) AS cut;
