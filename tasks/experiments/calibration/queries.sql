-- name: due_metrics
-- The metrics to calibrate: of experiments that run or pause, those whose figures have changed since
-- they were calibrated last, half a day ago or earlier; or all of one experiment, whatever its state.
SELECT e.id::text AS experiment_id, m.id::text AS metric_id, e.experiment_name AS experiment,
       m.name AS metric
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id
JOIN metric m ON m.id = em.metric_id
LEFT JOIN LATERAL (
    SELECT c.calibrated_at, c.details ->> 'figures_of' AS figures_of
    FROM calibration c
    WHERE c.experiment_id = e.id AND c.metric_id = m.id
    ORDER BY c.calibrated_at DESC, c.id DESC
    LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT md5(string_agg(
               concat_ws(' ', s.n, to_char(s.mean, '9.9999999999EEEE'),
                         to_char(s.m2, '9.9999999999EEEE')), ' '
           )) AS figures_of
    FROM moment_statistic s JOIN ab_variants v ON v.id = s.variant_id AND v.is_control
    WHERE s.experiment_id = e.id AND s.metric_id = m.id AND s.dimension = '' AND s.level = ''
) now ON true
WHERE CASE
          WHEN CAST(:experiment AS text) IS NOT NULL THEN e.experiment_name = :experiment
          ELSE e.status IN ('active', 'paused')
               AND (last.calibrated_at IS NULL
                    OR last.calibrated_at < headway.clock_now() - interval '12 hours')
               AND last.figures_of IS DISTINCT FROM now.figures_of
      END
  AND (CAST(:metric AS text) IS NULL OR m.name = :metric)
ORDER BY e.experiment_name, em.role, m.name;

-- name: metrics_of
-- The metrics of one experiment; no row where there is no such experiment.
SELECT ARRAY(
           SELECT m.name FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
           WHERE em.experiment_id = e.id
           ORDER BY em.role, m.name
       ) AS metrics
FROM ab_experiments e
WHERE e.experiment_name = :experiment;

-- name: lock_metric
-- One calibration of a metric at a time; and what tells whether the control's figures have changed,
-- but for the last digits, which depend on the order of adding up.
SELECT pg_advisory_xact_lock(
           hashtextextended('calibrate:' || :experiment_id || ':' || :metric_id, 0)
       ),
       md5(string_agg(
               concat_ws(' ', s.n, to_char(s.mean, '9.9999999999EEEE'),
                         to_char(s.m2, '9.9999999999EEEE')), ' '
           )) AS figures_of
FROM moment_statistic s
WHERE s.experiment_id = CAST(:experiment_id AS uuid) AND s.metric_id = CAST(:metric_id AS uuid)
  AND s.variant_id = CAST(:control_id AS uuid) AND s.dimension = '' AND s.level = '';

-- name: made_just_now
-- The same calibration, made within the hour: another run was sooner.
SELECT c.id
FROM calibration c
WHERE c.experiment_id = CAST(:experiment_id AS uuid) AND c.metric_id = CAST(:metric_id AS uuid)
  AND c.method = :method AND c.alpha = :alpha AND c.details ->> 'figures_of' = :figures_of
  AND CAST(c.details ->> 'asked_draws' AS integer) = :draws
  AND c.calibrated_at > headway.clock_now() - interval '1 hour'
ORDER BY c.id DESC
LIMIT 1;

-- name: record
-- What came of one calibration.
INSERT INTO calibration (
    metric_id, experiment_id, calibrated_at, method, alpha, units, draws, seed,
    false_positive_rate, coverage, srm_alarm_rate, verdict, details
)
VALUES (
    :metric_id, :experiment_id, headway.clock_now(), :method, :alpha, :units, :draws, :seed,
    :false_positive_rate, :coverage, :srm_alarm_rate, :verdict, CAST(:details AS jsonb)
)
RETURNING id;

-- name: latest
-- The latest calibration of each metric of the experiments (of one, if it is named), the broken ones
-- first; and since when its verdict has been the same.
WITH ranked AS (
    SELECT c.*, row_number() OVER newest AS rank
    FROM calibration c
    JOIN ab_experiments e ON e.id = c.experiment_id
    WHERE (CAST(:experiment AS text) IS NULL OR e.experiment_name = :experiment)
      AND (CAST(:ids AS bigint[]) IS NULL OR c.id = ANY(CAST(:ids AS bigint[])))
    WINDOW newest AS (
        PARTITION BY c.experiment_id, c.metric_id ORDER BY c.calibrated_at DESC, c.id DESC
    )
)
SELECT c.id, e.experiment_name AS experiment, m.name AS metric, em.role::text AS role, m.kind,
       c.method, c.alpha, c.units, c.draws, c.seed, c.calibrated_at, c.verdict, c.details,
       c.false_positive_rate, c.coverage, c.srm_alarm_rate, since.at AS since
FROM ranked c
JOIN ab_experiments e ON e.id = c.experiment_id
JOIN metric m ON m.id = c.metric_id
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.metric_id = m.id
CROSS JOIN LATERAL (
    SELECT min(s.calibrated_at) AS at
    FROM calibration s
    WHERE s.experiment_id = c.experiment_id AND s.metric_id = c.metric_id AND s.id <= c.id
      AND NOT EXISTS (
          SELECT FROM calibration other
          WHERE other.experiment_id = c.experiment_id AND other.metric_id = c.metric_id
            AND other.verdict <> c.verdict AND other.id > s.id AND other.id < c.id
      )
      AND s.verdict = c.verdict
) since
WHERE c.rank = 1
ORDER BY array_position(ARRAY['broken', 'unknown', 'kept'], c.verdict), e.experiment_name, m.name;
