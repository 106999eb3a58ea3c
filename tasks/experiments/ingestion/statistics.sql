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

-- name: reject_statistics
-- Rows that do not fit, beside those that could not be read.
INSERT INTO incoming_row (line_number, row_number, raw, reason_code, message)
SELECT line_number, row_number, raw, reason_code,
       CASE reason_code
           WHEN 'unknown-experiment' THEN format('no experiment is called %L', experiment)
           WHEN 'unknown-variant' THEN format('experiment %L has no variant %L', experiment, variant)
           WHEN 'unknown-metric' THEN format('experiment %L has no metric %L', experiment, metric)
           ELSE format('%s lies in the future', observed_at) END
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
