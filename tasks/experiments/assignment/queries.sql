-- name: assign_variant
-- The arm of a unit, given on the first ask; no row where the experiment does not exist.
SELECT assign_variant(
    e.experiment_name, :unit, :session, CAST(:attributes AS jsonb), CAST(:metadata AS jsonb)
) AS variant
FROM ab_experiments e WHERE e.experiment_name = :experiment;

-- name: open_first_epoch
-- The split that an experiment starts with, unless one holds already.
SELECT open_first_allocation(:experiment_id, headway.clock_now(), :actor, :reason);

-- name: lock_allocation
-- One change of a split at a time; assignments do not wait for it.
SELECT experiment_name AS name, status::text AS status
FROM ab_experiments WHERE id = :experiment_id FOR NO KEY UPDATE;

-- name: current_split
-- The newest epoch: weights in the order of assignment, and the ranges of the bucket.
SELECT newest.epoch,
       (SELECT json_object_agg(v.variant_name, w.weight
                               ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        FROM allocation_weight w JOIN ab_variants v ON v.id = w.variant_id
        WHERE w.experiment_id = newest.experiment_id AND w.epoch = newest.epoch) AS weights,
       (SELECT json_agg(json_build_array(r.lower_bound, v.variant_name) ORDER BY r.lower_bound)
        FROM allocation_range r JOIN ab_variants v ON v.id = r.variant_id
        WHERE r.experiment_id = newest.experiment_id AND r.epoch = newest.epoch) AS ranges
FROM allocation newest
WHERE newest.experiment_id = :experiment_id
ORDER BY newest.epoch DESC LIMIT 1;

-- name: open_epoch
-- A new split: its weights and ranges, and the same where applications and reports look.
WITH opened AS (
    INSERT INTO allocation (experiment_id, epoch, started_at, actor, reason)
    VALUES (:experiment_id, :epoch, headway.clock_now(), :actor, :reason)
), weighted AS (
    INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
    SELECT v.experiment_id, :epoch, v.id, CAST(wanted.value AS double precision)
    FROM json_each_text(CAST(:weights AS json)) wanted
    JOIN ab_variants v ON v.experiment_id = :experiment_id AND v.variant_name = wanted.key
), ranged AS (
    INSERT INTO allocation_range (experiment_id, epoch, lower_bound, variant_id)
    SELECT v.experiment_id, :epoch, CAST(range.bounds ->> 0 AS double precision), v.id
    FROM json_array_elements(CAST(:ranges AS json)) range (bounds)
    JOIN ab_variants v
        ON v.experiment_id = :experiment_id AND v.variant_name = range.bounds ->> 1
), shown AS (
    UPDATE ab_variants v
    SET traffic_weight = CAST(wanted.value AS double precision), updated_at = headway.clock_now()
    FROM json_each_text(CAST(:weights AS json)) wanted
    WHERE v.experiment_id = :experiment_id AND v.variant_name = wanted.key
)
UPDATE ab_experiments
SET default_traffic_split = CAST(:weights AS jsonb), updated_at = headway.clock_now()
WHERE id = :experiment_id;

-- name: find_enrolment
-- What decides about one unit, but for its attributes.
SELECT e.experiment_name AS experiment, e.status = 'active' AS is_active,
       coalesce(p.traffic_fraction, 1) AS traffic_fraction,
       coalesce(p.target_rules, '[]') AS target_rules,
       forced.variant_name AS override, given.variant_name AS assigned,
       coalesce((
           SELECT json_agg(json_build_array(r.lower_bound, v.variant_name) ORDER BY r.lower_bound)
           FROM allocation_range r JOIN ab_variants v ON v.id = r.variant_id
           WHERE r.experiment_id = e.id
             AND r.epoch = (SELECT max(a.epoch) FROM allocation a WHERE a.experiment_id = e.id)
       ), '[]') AS ranges,
       (SELECT json_object_agg(v.variant_name, v.traffic_weight
                               ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        FROM ab_variants v WHERE v.experiment_id = e.id) AS weights
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN assignment_override o ON o.experiment_id = e.id AND o.user_id = :unit
LEFT JOIN ab_variants forced ON forced.id = o.variant_id
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants given ON given.id = a.variant_id
WHERE e.experiment_name = :experiment;

-- name: lock_for_override
-- An experiment and one of its arms; new assignments wait, so that none misses the override.
SELECT e.id AS experiment_id, v.id AS variant_id,
       (SELECT array_agg(known.variant_name ORDER BY known.variant_name)
        FROM ab_variants known WHERE known.experiment_id = e.id) AS known
FROM ab_experiments e
LEFT JOIN ab_variants v ON v.experiment_id = e.id AND v.variant_name = :variant
WHERE e.experiment_name = :experiment
FOR UPDATE OF e;

-- name: set_override
-- Choose the arm of one unit; no row where it is chosen already.
INSERT INTO assignment_override AS held (
    experiment_id, user_id, variant_id, actor, reason, created_at
) VALUES (:experiment_id, :unit, :variant_id, :actor, :reason, headway.clock_now())
ON CONFLICT (experiment_id, user_id) DO UPDATE
SET variant_id = excluded.variant_id, actor = excluded.actor, reason = excluded.reason,
    created_at = excluded.created_at
WHERE held.variant_id <> excluded.variant_id
RETURNING variant_id;

-- name: remove_override
-- Let the bucket choose again.
DELETE FROM assignment_override
WHERE experiment_id = :experiment_id AND user_id = :unit
RETURNING variant_id;

-- name: flag_overridden
-- Assigned units with an override leave the analysis, for good.
WITH flagged AS (
    UPDATE ab_assignments a SET is_override = true
    FROM assignment_override o
    WHERE o.experiment_id = :experiment_id AND a.experiment_id = o.experiment_id
      AND a.user_id = o.user_id AND NOT a.is_override
    RETURNING a.experiment_id, a.id
)
INSERT INTO touched_unit (experiment_id, assignment_id) SELECT experiment_id, id FROM flagged;

-- name: create_incoming_units
-- Units of one batch as they came.
CREATE TEMPORARY TABLE incoming_unit (
    line_number bigint NOT NULL,
    user_id text,
    session_id text,
    attributes jsonb,
    metadata jsonb,
    problem text
) ON COMMIT DROP;

-- name: create_broken_units
-- Rows that name no unit.
CREATE TEMPORARY TABLE broken_unit (
    line_number bigint NOT NULL, user_id text, problem text NOT NULL
) ON COMMIT DROP;

-- name: columns_of_table
-- The columns of a table or view that say something about units; no row where there is none.
SELECT array_agg(attname) FILTER (
    WHERE attname IN ('user_id', 'session_id', 'attributes', 'metadata')
) AS columns
FROM pg_attribute
WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
HAVING count(*) > 0;

-- name: set_broken_aside
-- Rows with a problem, which a file's rows know already, go no further.
WITH broken AS (
    DELETE FROM incoming_unit
    WHERE problem IS NOT NULL OR user_id IS NULL OR length(user_id) NOT BETWEEN 1 AND 255
       OR jsonb_typeof(attributes) <> 'object' OR jsonb_typeof(metadata) <> 'object'
    RETURNING line_number, left(user_id, 80) AS user_id, coalesce(problem, CASE
        WHEN user_id IS NULL OR user_id = '' THEN 'missing-user'
        WHEN length(user_id) > 255 THEN 'user-too-long'
        ELSE 'no-json-object' END) AS problem
)
INSERT INTO broken_unit (line_number, user_id, problem)
SELECT line_number, user_id, problem FROM broken;

-- name: lock_batch
-- Two batches of one experiment take turns: they may hold the same units in another order.
SELECT pg_advisory_xact_lock(hashtextextended('assign:' || CAST(:experiment_id AS text), 0));

-- name: batch_split
-- What decides about all units alike.
SELECT e.id AS experiment_id, e.status::text AS status,
       coalesce(p.traffic_fraction, 1) AS fraction, coalesce(p.target_rules, '[]') AS rules,
       EXISTS (SELECT FROM assignment_override o WHERE o.experiment_id = e.id) AS has_overrides,
       split.epoch, split.bounds, split.arms
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN LATERAL (
    SELECT r.epoch, array_agg(r.lower_bound ORDER BY r.lower_bound) AS bounds,
           array_agg(r.variant_id ORDER BY r.lower_bound) AS arms
    FROM allocation_range r WHERE r.experiment_id = e.id
    GROUP BY r.epoch ORDER BY r.epoch DESC LIMIT 1
) split ON true
WHERE e.experiment_name = :experiment
FOR KEY SHARE OF e;

-- name: choose_units
-- Bucket, override and arm of every unit; as choosing.py has it. OFFSET 0 keeps the bucket from
-- being worked out twice.
SELECT drawn.line_number, drawn.user_id, drawn.session_id, drawn.metadata, drawn.bucket,
       drawn.override_id, drawn.is_in_traffic,
       CASE WHEN drawn.is_in_traffic AND (CAST(:rules AS jsonb) = '[]' OR matches_target(
                CAST(:rules AS jsonb), coalesce(drawn.attributes, '{}')))
            THEN (CAST(:arms AS uuid[]))[
                width_bucket(drawn.bucket, CAST(:bounds AS double precision[]))] END AS variant_id
FROM (
    SELECT u.line_number, u.user_id, u.session_id, u.attributes, u.metadata,
           bucket(:salt, u.user_id) AS bucket,
           CASE WHEN CAST(:has_overrides AS boolean) THEN (
               SELECT o.variant_id FROM assignment_override o
               WHERE o.experiment_id = :experiment_id AND o.user_id = u.user_id
           ) END AS override_id,
           CAST(:fraction AS double precision) >= 1
               OR bucket(:traffic_salt, u.user_id) < :fraction AS is_in_traffic
    FROM incoming_unit u
    OFFSET 0
) drawn;

-- name: assign_chosen
-- Write the assignments; who has an arm keeps it, and of a unit's rows the first one counts.
WITH given AS (
    INSERT INTO ab_assignments (
        experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, metadata,
        epoch, is_override
    )
    SELECT :experiment_id, coalesce(override_id, variant_id), user_id, session_id,
           (SELECT headway.clock_now()), bucket, coalesce(metadata, '{}'), :epoch,
           override_id IS NOT NULL
    FROM chosen_unit WHERE coalesce(override_id, variant_id) IS NOT NULL
    ON CONFLICT (experiment_id, user_id) DO NOTHING
    RETURNING id, variant_id
), touched AS (
    INSERT INTO touched_unit (experiment_id, assignment_ids)
    SELECT :experiment_id, array_agg(id) FROM given HAVING count(*) > 0
)
SELECT v.variant_name AS variant, count(*) AS units
FROM given JOIN ab_variants v ON v.id = given.variant_id
GROUP BY v.variant_name ORDER BY v.variant_name;

-- name: count_chosen
-- Rows of units that have an arm now, and of those that are not let in.
SELECT count(*) AS units, count(*) FILTER (WHERE a.id IS NOT NULL) AS with_arm,
       count(*) FILTER (WHERE a.id IS NULL AND NOT c.is_in_traffic) AS outside_traffic,
       count(*) FILTER (WHERE a.id IS NULL AND c.is_in_traffic) AS not_targeted
FROM chosen_unit c
LEFT JOIN ab_assignments a ON a.experiment_id = :experiment_id AND a.user_id = c.user_id;

-- name: list_broken_units
-- How many rows name no unit, and the first ones.
SELECT count(*) AS rejected,
       (SELECT json_agg(json_build_array(b.line_number, b.user_id, b.problem))
        FROM (SELECT * FROM broken_unit ORDER BY line_number LIMIT 100) b) AS broken
FROM broken_unit;
