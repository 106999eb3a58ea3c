-- name: insert_experiment
-- A new experiment, active at once; nothing where the name is taken.
INSERT INTO ab_experiments (
    experiment_name, description, hypothesis, metric_type, minimum_sample_size, status,
    started_at, default_traffic_split, created_at, updated_at, created_by
) VALUES (
    :name, :description, :hypothesis, :metric_type, :minimum_sample_size, 'active',
    headway.clock_now(), CAST(:split AS jsonb), headway.clock_now(), headway.clock_now(), :actor
) ON CONFLICT (experiment_name) DO NOTHING
RETURNING id;

-- name: insert_variant
-- One arm of a new experiment.
INSERT INTO ab_variants (experiment_id, variant_name, variant_label, traffic_weight, is_control)
VALUES (:experiment_id, :name, :label, :weight, :is_control);

-- name: insert_metric
-- A metric, unless one of that name is known.
INSERT INTO metric (name, description, kind, event_type, aggregation, missing, is_higher_better)
VALUES (
    :name, :description, :kind, :event_type, CAST(:aggregation AS metric_aggregation),
    CAST(:missing AS metric_missing), :is_higher_better
) ON CONFLICT (name) DO NOTHING;

-- name: insert_experiment_metric
-- What decides the experiment.
INSERT INTO experiment_metric (
    experiment_id, metric_id, role, planned_sample_size, alpha, is_stopped_at_winner
)
SELECT :experiment_id, metric.id, 'primary', :planned_sample_size, :alpha, :is_stopped_at_winner
FROM metric WHERE metric.name = :metric;

-- name: find_metric
-- A metric by its name, as a plan gives it.
SELECT name, kind, event_type, aggregation::text AS aggregation, missing::text AS missing,
       is_higher_better
FROM metric WHERE name = :name;

-- name: find_plan
-- What an experiment of that name was planned to be.
SELECT e.id::text AS id, e.minimum_sample_size, m.name AS metric, em.planned_sample_size, em.alpha,
       em.is_stopped_at_winner,
       (SELECT jsonb_agg(jsonb_build_array(v.variant_name, v.traffic_weight, v.is_control)
                         ORDER BY v.variant_name)
        FROM ab_variants v WHERE v.experiment_id = e.id) AS variants
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
WHERE e.experiment_name = :name;

-- name: lock_content
-- Two runs that load the same file take turns.
SELECT pg_advisory_xact_lock(hashtextextended('ingest:' || CAST(:sha256 AS text), 0));

-- name: find_batch
-- The counts of a batch that was loaded before, by whatever run; whether it is worth another try.
SELECT run_id::text AS run_id, assignment_count, event_count, duplicate_count, rejected_count,
       rejected_count > 0 AND EXISTS (
           SELECT FROM rejected_row r
           WHERE r.content_sha256 = :sha256 AND r.experiment_name = :experiment
             AND r.reason_code IN ('unknown-experiment', 'unknown-variant', 'unassigned-user',
                                   'future-timestamp')
       ) AS may_fit_now
FROM ingest_batch
WHERE content_sha256 = :sha256 AND experiment_name = :experiment
  AND first_row = :first_row AND row_count = :row_count;

-- name: create_incoming
-- The rows of one batch, before they are known to fit.
CREATE TEMPORARY TABLE incoming_row (
    line_number bigint NOT NULL,
    raw jsonb NOT NULL,
    kind text,
    experiment text,
    variant text,
    user_id text,
    session_id text,
    moment timestamptz,
    bucket_value double precision,
    event_type text,
    event_value double precision,
    event_id text,
    source text,
    details jsonb,
    session_context jsonb,
    reason_code text,
    message text,
    experiment_id uuid,
    variant_id uuid,
    assignment_id uuid,
    assigned_at timestamptz
) ON COMMIT DROP;

-- name: resolve_incoming
-- Names to ids.
UPDATE incoming_row r
SET experiment_id = known.experiment_id, variant_id = known.variant_id
FROM (
    SELECT named.experiment, named.variant, e.id AS experiment_id, v.id AS variant_id
    FROM (SELECT DISTINCT experiment, variant FROM incoming_row WHERE reason_code IS NULL) named
    JOIN ab_experiments e ON e.experiment_name = named.experiment
    LEFT JOIN ab_variants v ON v.experiment_id = e.id AND v.variant_name = named.variant
) known
WHERE r.reason_code IS NULL AND r.experiment = known.experiment
  AND r.variant IS NOT DISTINCT FROM known.variant;

-- name: reject_unknown
-- Rows that name what does not exist, or a time that has not come.
UPDATE incoming_row
SET reason_code = CASE WHEN experiment_id IS NULL THEN 'unknown-experiment'
                       WHEN variant IS NOT NULL AND variant_id IS NULL THEN 'unknown-variant'
                       ELSE 'future-timestamp' END,
    message = CASE
        WHEN experiment_id IS NULL THEN format('no experiment is called %L', experiment)
        WHEN variant IS NOT NULL AND variant_id IS NULL
            THEN format('experiment %L has no variant %L', experiment, variant)
        ELSE format('%s lies in the future', moment) END
WHERE reason_code IS NULL
  AND (experiment_id IS NULL OR (variant IS NOT NULL AND variant_id IS NULL)
       OR moment > headway.clock_now() + interval '5 minutes');

-- name: insert_assignments
-- The first assignment of a unit stands; later ones change nothing.
INSERT INTO ab_assignments (
    experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata
)
SELECT DISTINCT ON (experiment_id, user_id)
       experiment_id, variant_id, user_id, session_id, moment, bucket_value, details
FROM incoming_row
WHERE kind = 'assignment' AND reason_code IS NULL
ORDER BY experiment_id, user_id, line_number
ON CONFLICT (experiment_id, user_id) DO NOTHING;

-- name: reject_conflicting_assignments
-- A unit that already has another arm keeps it.
UPDATE incoming_row r
SET reason_code = 'conflicting-assignment',
    message = format('%L is already assigned to %L, not %L', r.user_id, v.variant_name, r.variant)
FROM ab_assignments a JOIN ab_variants v ON v.id = a.variant_id
WHERE r.kind = 'assignment' AND r.reason_code IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id
  AND a.variant_id <> r.variant_id;

-- name: match_events
-- Events to the assignment of their unit.
UPDATE incoming_row r
SET assignment_id = a.id, assigned_at = a.assigned_at,
    reason_code = CASE WHEN a.variant_id <> r.variant_id THEN 'variant-mismatch'
                       WHEN r.moment < a.assigned_at THEN 'before-assignment' END,
    message = CASE WHEN a.variant_id <> r.variant_id
                       THEN format('%L is not assigned to %L', r.user_id, r.variant)
                   WHEN r.moment < a.assigned_at
                       THEN format('it happened before %L was assigned', r.user_id) END,
    variant_id = a.variant_id
FROM ab_assignments a
WHERE r.kind = 'event' AND r.reason_code IS NULL
  AND a.experiment_id = r.experiment_id AND a.user_id = r.user_id;

-- name: reject_unassigned
-- Events of units that nobody assigned.
UPDATE incoming_row
SET reason_code = 'unassigned-user',
    message = format('%L is not assigned in experiment %L', user_id, experiment)
WHERE kind = 'event' AND reason_code IS NULL AND assignment_id IS NULL;

-- name: insert_events
-- Events, each once: one that is known by its event_id is passed over.
INSERT INTO ab_metrics (
    experiment_id, variant_id, assignment_id, event_type, event_value, event_data,
    event_timestamp, source, session_context, event_id
)
SELECT experiment_id, variant_id, assignment_id, event_type, event_value, details,
       moment, source, session_context, event_id
FROM incoming_row
WHERE kind = 'event' AND reason_code IS NULL
ORDER BY line_number
ON CONFLICT (experiment_id, event_id) DO NOTHING;

-- name: mark_converted
-- A unit converts with its first event of the experiment's primary metric.
UPDATE ab_assignments a
SET has_converted = true, converted_at = first_event.moment
FROM (
    SELECT r.assignment_id, min(e.event_timestamp) AS moment
    FROM incoming_row r
    -- The event as it is kept: a row with an event_id that was known may say something else.
    JOIN ab_metrics e ON e.experiment_id = r.experiment_id AND e.event_id = r.event_id
                     AND e.assignment_id = r.assignment_id
    JOIN experiment_metric em ON em.experiment_id = r.experiment_id AND em.role = 'primary'
    JOIN metric m ON m.id = em.metric_id AND m.event_type = e.event_type
    WHERE r.kind = 'event' AND r.reason_code IS NULL
    GROUP BY r.assignment_id
) first_event
WHERE a.id = first_event.assignment_id
  AND (NOT a.has_converted OR first_event.moment < a.converted_at);

-- name: count_incoming
-- Rows that were good, by kind, and all rows.
SELECT count(*) FILTER (WHERE kind = 'assignment' AND reason_code IS NULL) AS assignments,
       count(*) FILTER (WHERE kind = 'event' AND reason_code IS NULL) AS events
FROM incoming_row;

-- name: record_batch
-- One batch, loaded.
INSERT INTO ingest_batch (
    source, content_sha256, experiment_name, batch_number, first_row, row_count,
    assignment_count, event_count, duplicate_count, rejected_count, run_id, ingested_at
) VALUES (
    :source, :sha256, :experiment, :batch_number, :first_row, :row_count,
    :assignments, :events, :duplicates, :rejected, CAST(:run_id AS uuid), headway.clock_now()
) RETURNING id;

-- name: keep_rejected
-- Nothing is lost: rows that did not fit, with their reason; a line of a file once.
INSERT INTO rejected_row (
    ingest_batch_id, content_sha256, experiment_name, line_number, raw, reason_code, message,
    rejected_at
)
SELECT :batch_id, :sha256, :experiment, line_number, raw, reason_code, message,
       headway.clock_now()
FROM incoming_row WHERE reason_code IS NOT NULL
ON CONFLICT (content_sha256, experiment_name, line_number) DO NOTHING;

-- name: count_reasons
-- Why rows of a batch were rejected.
SELECT reason_code, count(*) AS rows FROM incoming_row
WHERE reason_code IS NOT NULL GROUP BY reason_code ORDER BY reason_code;

-- name: active_experiments
-- What is due: every active experiment that has a primary metric.
SELECT e.id::text AS id, e.experiment_name AS name
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
WHERE e.status = 'active'
ORDER BY e.experiment_name;

-- name: lock_experiment
-- Serialise looks at one experiment; everything that its decision needs to know of it. Rows that
-- refer to it can be added meanwhile.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, e.minimum_sample_size,
       m.id AS metric_id, m.name AS metric, m.kind, m.event_type,
       m.aggregation::text AS aggregation, m.missing::text AS missing, m.is_higher_better,
       em.planned_sample_size, em.alpha, em.is_stopped_at_winner
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
JOIN metric m ON m.id = em.metric_id
WHERE e.id = CAST(:experiment_id AS uuid)
FOR NO KEY UPDATE OF e;

-- name: arm_moments
-- Sufficient statistics of each arm: one value a unit, aggregated from its events.
WITH unit_value AS (
    SELECT a.variant_id, count(m.id) AS events,
           COALESCE(
               CASE CAST(:aggregation AS text)
                   WHEN 'sum' THEN sum(m.event_value)
                   WHEN 'mean' THEN avg(m.event_value)
                   WHEN 'min' THEN min(m.event_value)
                   WHEN 'max' THEN max(m.event_value)
                   WHEN 'count' THEN NULLIF(count(m.id), 0)::double precision
                   WHEN 'any' THEN CASE WHEN count(m.id) > 0 THEN 1.0 END
                   -- The last element decides among arrays whose first ones are equal.
                   WHEN 'first' THEN (min(ARRAY[extract(epoch FROM m.event_timestamp)::float8,
                                                m.event_value])
                                      FILTER (WHERE m.event_value IS NOT NULL))[2]
                   WHEN 'last' THEN (max(ARRAY[extract(epoch FROM m.event_timestamp)::float8,
                                               m.event_value])
                                     FILTER (WHERE m.event_value IS NOT NULL))[2]
               END,
               CASE WHEN CAST(:missing AS text) = 'zero' THEN 0.0 END
           ) AS value
    FROM ab_assignments a
    LEFT JOIN ab_metrics m ON m.assignment_id = a.id AND m.event_type = :event_type
                          AND m.event_timestamp >= a.assigned_at
                          -- NaN and infinities fail the data checks; the rest stays readable.
                          AND (m.event_value IS NULL OR abs(m.event_value) < 'Infinity')
    WHERE a.experiment_id = :experiment_id
    GROUP BY a.id, a.variant_id
)
SELECT v.id, v.variant_name AS name, v.traffic_weight AS weight, v.is_control,
       count(u.variant_id) AS assigned, COALESCE(sum(u.events), 0)::bigint AS events,
       count(u.value) AS n, COALESCE(avg(u.value), 0)::double precision AS mean,
       (COALESCE(var_samp(u.value), 0) * greatest(count(u.value) - 1, 0))::double precision AS m2,
       COALESCE(sum(u.value), 0)::double precision AS total,
       count(*) FILTER (WHERE u.events > 0) AS converted
FROM ab_variants v
LEFT JOIN unit_value u ON u.variant_id = v.id
WHERE v.experiment_id = :experiment_id
GROUP BY v.id
ORDER BY v.is_control DESC, v.variant_name;

-- name: earlier_looks
-- Every look so far, one row an arm, in order.
SELECT vm.look_number, vm.information_fraction AS fraction, vm.is_usable, vm.z,
       v.variant_name AS name, v.is_control, vm.assigned_count AS assigned,
       vm.event_count AS events, vm.n, vm.mean, vm.m2, vm.difference, vm.statistic, vm.p_value,
       vm.z_bound AS bound, vm.is_significant,
       CAST(d.inputs ->> 'planned_units' AS bigint) AS planned_units,
       CAST(d.inputs ->> 'alpha' AS double precision) AS alpha
FROM variant_metric vm JOIN ab_variants v ON v.id = vm.variant_id
LEFT JOIN headway.decision d ON d.id = vm.decision_id
WHERE vm.experiment_id = :experiment_id AND vm.metric_id = :metric_id
ORDER BY vm.look_number, v.is_control DESC, v.variant_name;

-- name: record_look
-- One arm at one look.
INSERT INTO variant_metric (
    experiment_id, metric_id, variant_id, look_number, information_fraction, is_usable,
    assigned_count, event_count, n, mean, m2, difference, difference_lower, difference_upper,
    statistic, p_value, z, z_bound, alpha_spent, is_significant, decision_id, computed_at
) VALUES (
    :experiment_id, :metric_id, :variant_id, :look_number, :information_fraction, :is_usable,
    :assigned, :events, :n, :mean, :m2, :difference, :lower, :upper,
    :statistic, :p_value, :z, :bound, :alpha_spent, :is_significant, :decision_id,
    headway.clock_now()
);

-- name: fill_variant
-- The result columns of one arm.
UPDATE ab_variants
SET impressions = CAST(:assigned AS bigint), conversions = CAST(:converted AS bigint),
    conversion_rate = COALESCE(
        CAST(:converted AS bigint)::double precision / NULLIF(CAST(:assigned AS bigint), 0), 0
    ),
    total_value = :total, confidence_interval_lower = :lower, confidence_interval_upper = :upper,
    updated_at = headway.clock_now()
WHERE id = :variant_id;

-- name: fill_experiment
-- The result columns of the experiment; completed once it is over.
UPDATE ab_experiments
SET winner_variant = :winner, statistical_significance = :significance,
    status = CASE WHEN :is_over THEN 'completed' ELSE status END,
    completed_at = CASE WHEN :is_over THEN headway.clock_now() ELSE completed_at END,
    updated_at = headway.clock_now()
WHERE id = :experiment_id;

-- name: find_assignment
-- The arm that a unit already has, and whether new units still get one.
SELECT e.id AS experiment_id, e.status = 'active' AS is_active, v.variant_name AS variant
FROM ab_experiments e
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants v ON v.id = a.variant_id
WHERE e.experiment_name = :experiment;

-- name: variant_weights
-- The arms of an experiment in the order that assignment uses.
SELECT id, variant_name AS name, traffic_weight AS weight
FROM ab_variants WHERE experiment_id = :experiment_id
ORDER BY is_control DESC, variant_name;

-- name: assign_unit
-- Give a unit its arm, unless somebody just did.
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, assigned_at, bucket_value)
VALUES (:experiment_id, :variant_id, :unit, headway.clock_now(), :bucket)
ON CONFLICT (experiment_id, user_id) DO NOTHING;

-- name: experiments_status
-- Every experiment with where it stands; the newest first.
SELECT e.experiment_name AS name, e.status::text AS status, e.winner_variant AS winner,
       e.statistical_significance AS significance, COALESCE(looks.count, 0) AS looks,
       d.verdict AS last_verdict, d.decided_at AS last_look_at
FROM ab_experiments e
LEFT JOIN LATERAL (
    SELECT count(DISTINCT vm.look_number) AS count, max(vm.decision_id) AS decision_id
    FROM variant_metric vm WHERE vm.experiment_id = e.id
) looks ON true
LEFT JOIN headway.decision d ON d.id = looks.decision_id
ORDER BY e.created_at DESC, e.experiment_name;

-- name: latest_decision
-- The last look at an experiment, as it was decided.
SELECT e.id, e.status::text AS status, m.id AS metric_id, m.name AS metric, m.kind,
       d.id AS decision_id, d.verdict, d.reasons, d.details
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN LATERAL (
    SELECT max(vm.decision_id) AS id FROM variant_metric vm WHERE vm.experiment_id = e.id
) latest ON true
LEFT JOIN headway.decision d ON d.id = latest.id
WHERE e.experiment_name = :name;
