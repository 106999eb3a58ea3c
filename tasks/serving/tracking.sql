-- name: track_event
-- One event of an experiment that the organization may see; no row where there is none.
SELECT track_event(
    e.experiment_name, :unit, :event_type, CAST(:event_value AS double precision), :event_id,
    CAST(:event_data AS jsonb), 'http', CAST(:session_context AS jsonb),
    CAST(:event_timestamp AS timestamptz)
) AS is_recorded
FROM ab_experiments e LEFT JOIN experiment_plan p ON p.experiment_id = e.id
WHERE e.experiment_name = :experiment
    AND (CAST(:organization AS text) IS NULL
         OR coalesce(p.organization, :organization) = :organization);

-- name: refused_samples
-- Of the samples those that lie in the future, or are about a version of another organization.
SELECT sample.number, sample.observed_at > headway.clock_now() + interval '5 minutes' AS is_future
FROM jsonb_to_recordset(CAST(:samples AS jsonb)) sample (
    number integer, model_version text, observed_at timestamptz
)
WHERE sample.observed_at > headway.clock_now() + interval '5 minutes'
    OR (CAST(:organization AS text) IS NOT NULL AND EXISTS (
        SELECT FROM rollout r
        WHERE sample.model_version IN (r.model_version, r.control_version)
            AND r.organization <> :organization))
ORDER BY sample.number
LIMIT 1;

-- name: record_samples
-- All of them or none; one whose event id is known is passed over.
SELECT count(record_health_sample(
    sample.model_version, sample.metric, sample.value_sum, sample.sample_count,
    sample.observed_at, :source, sample.square_sum, sample.event_id
)) AS recorded
FROM jsonb_to_recordset(CAST(:samples AS jsonb)) sample (
    model_version text, metric text, value_sum double precision, sample_count bigint,
    observed_at timestamptz, square_sum double precision, event_id text
);
