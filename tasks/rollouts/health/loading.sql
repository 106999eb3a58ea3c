-- name: insert_samples
-- Samples of a file, each once.
INSERT INTO health_sample
    (model_version, metric, value_sum, sample_count, square_sum, observed_at, source, event_id)
SELECT model_version, metric, value_sum, sample_count, square_sum,
       coalesce(observed_at, (SELECT headway.clock_now())), source, event_id
FROM jsonb_to_recordset(CAST(:samples AS jsonb)) AS sample(
    model_version text, metric text, value_sum double precision, sample_count bigint,
    square_sum double precision, observed_at timestamptz, source text, event_id text)
ON CONFLICT (source, event_id) WHERE event_id IS NOT NULL DO NOTHING;

-- name: record_samples_file
-- A file of samples beside the other files that were loaded; nothing where it was loaded before.
INSERT INTO ingest_batch
    (source, content_sha256, experiment_name, batch_number, first_row, row_count,
     assignment_count, event_count, duplicate_count, rejected_count, ingested_at)
VALUES
    (:path, :digest, 'health samples', 1, 1, :rows, 0, :loaded,
     :rows - :loaded - :rejected, :rejected, headway.clock_now())
ON CONFLICT (content_sha256, experiment_name, first_row, row_count) DO NOTHING
RETURNING id;

-- name: keep_rejected_samples
-- Nothing is lost: the rows of a file that did not fit, with their reason.
INSERT INTO rejected_row
    (ingest_batch_id, content_sha256, experiment_name, line_number, raw, reason_code, message,
     rejected_at)
SELECT :batch_id, :digest, 'health samples', line, coalesce(raw, 'null'), code, message,
       (SELECT headway.clock_now())
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row(
    line bigint, raw jsonb, code text, message text)
ON CONFLICT (content_sha256, experiment_name, line_number) DO NOTHING;

-- name: record_one_sample
-- The application's own way in; null where the source's event_id is known.
SELECT record_health_sample(
    CAST(:model_version AS text), CAST(:metric AS text), CAST(:value_sum AS double precision),
    CAST(:sample_count AS bigint), CAST(:observed_at AS timestamptz), CAST(:source AS text),
    CAST(:square_sum AS double precision), CAST(:event_id AS text));
