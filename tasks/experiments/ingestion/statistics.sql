-- name: create_incoming_statistic
-- Rows of aggregated statistics of one batch.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_statistic (
    line_number bigint NOT NULL,
    row_number bigint NOT NULL,
    raw jsonb NOT NULL,
    experiment text,
    variant text,
    metric text,
    observed_at timestamptz,
    assigned bigint,
    n bigint,
    mean double precision,
    m2 double precision,
    experiment_id uuid,
    variant_id uuid,
    metric_id uuid,
    reason_code text
) ON COMMIT DROP;

-- name: resolve_statistics
-- Names to ids; rows that name what does not exist, or a time that has not come.
UPDATE incoming_statistic s
SET experiment_id = e.id, variant_id = v.id, metric_id = m.metric_id,
    reason_code = CASE
        WHEN e.id IS NULL THEN 'unknown-experiment'
        WHEN v.id IS NULL THEN 'unknown-variant'
        WHEN m.metric_id IS NULL THEN 'unknown-metric'
        WHEN i.observed_at > (SELECT headway.clock_now()) + interval '5 minutes'
            THEN 'future-timestamp' END
FROM incoming_statistic i
LEFT JOIN ab_experiments e ON e.experiment_name = i.experiment
LEFT JOIN ab_variants v ON v.experiment_id = e.id AND v.variant_name = i.variant
LEFT JOIN (
    SELECT em.experiment_id, em.metric_id, metric.name
    FROM experiment_metric em JOIN metric ON metric.id = em.metric_id
) m ON m.experiment_id = e.id AND m.name = i.metric
WHERE i.row_number = s.row_number;

-- name: lock_experiments
-- Wait for units that are being assigned, and let none in until the figures are written. The share
-- lock of a reference does not bear this one.
SELECT FROM ab_experiments e
WHERE e.id IN (SELECT experiment_id FROM incoming_statistic WHERE reason_code IS NULL)
ORDER BY e.id
FOR UPDATE OF e;

-- name: refuse_own_units
-- Rows for experiments that have units: those alone are judged.
UPDATE incoming_statistic s SET reason_code = 'has-own-units'
WHERE s.reason_code IS NULL AND EXISTS (
    SELECT FROM ab_assignments a WHERE a.experiment_id = s.experiment_id AND NOT a.is_override
);

-- name: judge_statistics
-- Figures that no units have, beyond rounding: a mean of zeros and ones says how much they vary,
-- m2 = n p (1 - p); whole numbers vary at least by the part f of their mean that is not whole,
-- n f (1 - f). Taken are 2 % and a sum over n as a variance over n - 1.
UPDATE incoming_statistic s SET reason_code = CASE
    WHEN t.kind IN ('ratio', 'quantile') THEN 'not-aggregable'
    WHEN s.n = 0 THEN NULL
    WHEN t.is_rate AND s.mean NOT BETWEEN 0 AND 1 OR t.is_count AND s.mean < 0
        THEN 'impossible-mean'
    WHEN t.is_rate AND abs(s.m2 - t.least) > 0.02 * t.least + 0.25 + 1e-5 * s.n
      OR t.is_count AND NOT t.is_capped AND s.m2 < 0.98 * t.least - 0.25 - 1e-4 * s.n
        THEN 'impossible-variance' END
FROM (
    SELECT i.row_number, m.kind, m.cap_quantile IS NOT NULL AS is_capped,
           m.kind IN ('proportion', 'retention') OR m.aggregation = 'any' AS is_rate,
           m.kind = 'count' OR m.aggregation = 'count' AS is_count,
           i.n * (i.mean - floor(i.mean)) * (1 - (i.mean - floor(i.mean))) AS least
    FROM incoming_statistic i JOIN metric m ON m.id = i.metric_id
) t
WHERE t.row_number = s.row_number AND s.reason_code IS NULL;

-- name: reject_statistics
-- Rows that do not fit, beside those that could not be read.
INSERT INTO incoming_row (line_number, row_number, raw, reason_code, message)
SELECT line_number, row_number, raw, reason_code,
       CASE reason_code
           WHEN 'unknown-experiment' THEN format('no experiment is called %L', experiment)
           WHEN 'unknown-variant' THEN format('experiment %L has no variant %L', experiment, variant)
           WHEN 'unknown-metric' THEN format('experiment %L has no metric %L', experiment, metric)
           WHEN 'future-timestamp' THEN format('%s lies in the future', observed_at)
           WHEN 'has-own-units' THEN format(
               'experiment %L has units of its own, which alone are judged: '
               'figures of others belong in an experiment without any', experiment)
           WHEN 'not-aggregable' THEN format(
               'metric %L is of a kind that n, mean and variance do not tell enough of', metric)
           WHEN 'impossible-mean' THEN format(
               'metric %L: its values are %s, their mean cannot be %s', metric,
               CASE WHEN mean > 1 THEN '0 or 1' ELSE 'not below 0' END, mean)
           ELSE format(
               'metric %L: %s units whose mean is %s cannot have m2 %s (variance %s)', metric, n,
               mean, m2, m2 / greatest(n - 1, 1)) END
FROM incoming_statistic WHERE reason_code IS NOT NULL;

-- name: upsert_statistics
-- What was aggregated up to a moment, once; the newest load of it stands.
WITH newest AS (
    SELECT DISTINCT ON (experiment_id, metric_id, variant_id, observed_at) *
    FROM incoming_statistic WHERE reason_code IS NULL
    ORDER BY experiment_id, metric_id, variant_id, observed_at, row_number DESC
), written AS (
    INSERT INTO aggregate_statistic AS a (
        experiment_id, metric_id, variant_id, observed_at, assigned, n, mean, m2, source, loaded_at
    )
    SELECT experiment_id, metric_id, variant_id, observed_at, assigned, n, mean, m2, :source,
           (SELECT headway.clock_now())
    FROM newest
    ON CONFLICT (experiment_id, metric_id, variant_id, observed_at) DO UPDATE
    SET assigned = EXCLUDED.assigned, n = EXCLUDED.n, mean = EXCLUDED.mean, m2 = EXCLUDED.m2,
        source = EXCLUDED.source, loaded_at = EXCLUDED.loaded_at
    WHERE (a.assigned, a.n, a.mean, a.m2)
          IS DISTINCT FROM (EXCLUDED.assigned, EXCLUDED.n, EXCLUDED.mean, EXCLUDED.m2)
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS corrected
FROM written;
