-- name: assign_variant
-- The arm of a unit, given on the first ask; no row where the experiment does not exist.
SELECT assign_variant(
    e.experiment_name, :unit, :session, CAST(:attributes AS jsonb), CAST(:metadata AS jsonb)
) AS variant
FROM ab_experiments e WHERE e.experiment_name = :experiment;

-- name: find_enrolment
-- What decides about one unit, but for its attributes: of the experiment, and of the holdouts that
-- are asked before it, by name.
SELECT e.experiment_name AS experiment, e.status = 'active' AS is_active,
       coalesce(p.traffic_fraction, 1) AS traffic_fraction,
       coalesce(p.target_rules, '[]') AS target_rules,
       CASE WHEN s.experiment_id IS NOT NULL THEN json_build_object(
           'layer', s.layer, 'lower', s.lower_bound, 'upper', s.upper_bound) END AS part,
       forced.variant_name AS override, given.variant_name AS assigned,
       coalesce((
           SELECT json_agg(json_build_array(r.lower_bound, v.variant_name) ORDER BY r.lower_bound)
           FROM allocation_range r JOIN ab_variants v ON v.id = r.variant_id
           WHERE r.experiment_id = e.id
             AND r.epoch = (SELECT max(a.epoch) FROM allocation a WHERE a.experiment_id = e.id)
       ), '[]') AS ranges,
       (SELECT json_object_agg(v.variant_name, v.traffic_weight
                               ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        FROM ab_variants v WHERE v.experiment_id = e.id) AS weights,
       (SELECT min(v.variant_name) FROM ab_variants v
        WHERE v.experiment_id = e.id AND v.is_control AND e.id <> asked.id) AS held_out
FROM ab_experiments asked
LEFT JOIN experiment_plan asking ON asking.experiment_id = asked.id
JOIN ab_experiments e ON e.id = asked.id OR e.id IN (
    SELECT h.experiment_id FROM experiment_plan h
    WHERE h.is_holdout AND NOT coalesce(asking.is_holdout, false)
      AND (h.organization IS NULL OR h.organization = asking.organization))
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN layer_slot s ON s.experiment_id = e.id
LEFT JOIN assignment_override o ON o.experiment_id = e.id AND o.user_id = :unit
LEFT JOIN ab_variants forced ON forced.id = o.variant_id
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants given ON given.id = a.variant_id
WHERE asked.experiment_name = :experiment
  AND (e.id = asked.id OR e.status IN ('active', 'paused'))
ORDER BY e.id = asked.id DESC, e.experiment_name COLLATE "C";

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
SELECT e.id AS experiment_id, e.experiment_name AS experiment, e.status::text AS status,
       coalesce(p.traffic_fraction, 1) AS fraction, coalesce(p.target_rules, '[]') AS rules,
       s.layer, ARRAY[s.lower_bound, s.upper_bound] AS part,
       EXISTS (SELECT FROM assignment_override o WHERE o.experiment_id = e.id) AS has_overrides,
       split.epoch, split.bounds, split.arms
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN layer_slot s ON s.experiment_id = e.id
LEFT JOIN LATERAL (
    SELECT r.epoch, array_agg(r.lower_bound ORDER BY r.lower_bound) AS bounds,
           array_agg(r.variant_id ORDER BY r.lower_bound) AS arms
    FROM allocation_range r WHERE r.experiment_id = e.id
    GROUP BY r.epoch ORDER BY r.epoch DESC LIMIT 1
) split ON true
WHERE e.experiment_name = :experiment
FOR KEY SHARE OF e;

-- name: asked_holdouts
-- The holdouts that are asked before units are let into the experiment, by name.
SELECT h.experiment_name AS name, v.id AS held_out
FROM ab_experiments e
LEFT JOIN experiment_plan asking ON asking.experiment_id = e.id
JOIN experiment_plan p ON p.is_holdout AND NOT coalesce(asking.is_holdout, false)
    AND (p.organization IS NULL OR p.organization = asking.organization)
JOIN ab_experiments h ON h.id = p.experiment_id AND h.status IN ('active', 'paused')
JOIN ab_variants v ON v.experiment_id = h.id AND v.is_control
WHERE e.id = :experiment_id
ORDER BY h.experiment_name COLLATE "C";

-- name: choose_units
-- Bucket, override and arm of every unit; as choosing.py has it. OFFSET 0 keeps the bucket from
-- being worked out twice. Without an arm `refusal` says why: outside the traffic, not targeted,
-- or outside its part of the layer.
SELECT drawn.line_number, drawn.user_id, drawn.session_id, drawn.metadata, drawn.bucket,
       drawn.override_id, drawn.refusal,
       CASE WHEN drawn.refusal IS NULL THEN (CAST(:arms AS uuid[]))[
           width_bucket(drawn.bucket, CAST(:bounds AS double precision[]))] END AS variant_id
FROM (
    SELECT u.line_number, u.user_id, u.session_id, u.metadata,
           bucket(:salt, u.user_id) AS bucket,
           CASE WHEN CAST(:has_overrides AS boolean) THEN (
               SELECT o.variant_id FROM assignment_override o
               WHERE o.experiment_id = :experiment_id AND o.user_id = u.user_id
           ) END AS override_id,
           CASE
               WHEN CAST(:fraction AS double precision) < 1
                   AND bucket(:traffic_salt, u.user_id) >= :fraction THEN 'traffic'
               WHEN CAST(:rules AS jsonb) <> '[]' AND NOT matches_target(
                   CAST(:rules AS jsonb), coalesce(u.attributes, '{}')) THEN 'target'
               WHEN CAST(:layer_salt AS text) IS NOT NULL AND width_bucket(
                   bucket(:layer_salt, u.user_id), CAST(:part AS double precision[])) <> 1
                   THEN 'layer'
           END AS refusal
    FROM incoming_unit u
    OFFSET 0
) drawn;

-- name: create_asked_units
-- Units that the holdouts are asked about.
CREATE TEMPORARY TABLE asked_unit (LIKE incoming_unit) ON COMMIT DROP;

-- name: choose_asked
-- The first row of each unit that would get an arm now.
INSERT INTO asked_unit
SELECT DISTINCT ON (c.user_id) u.*
FROM chosen_unit c JOIN incoming_unit u USING (line_number)
WHERE c.variant_id IS NOT NULL AND c.override_id IS NULL AND NOT EXISTS (
    SELECT FROM ab_assignments a
    WHERE a.experiment_id = :experiment_id AND a.user_id = c.user_id)
ORDER BY c.user_id, c.line_number;

-- name: refuse_held_out
-- Units that the holdout holds out get no arm, and are asked by no other holdout.
WITH held AS (
    DELETE FROM asked_unit q
    USING asked_unit u
    LEFT JOIN ab_assignments a ON a.experiment_id = :holdout_id AND a.user_id = u.user_id
    LEFT JOIN assignment_override o ON o.experiment_id = :holdout_id AND o.user_id = u.user_id
    WHERE u.line_number = q.line_number AND coalesce(o.variant_id, a.variant_id) = :held_out
    RETURNING q.user_id
)
UPDATE chosen_unit c SET variant_id = NULL, refusal = 'holdout'
FROM held
WHERE c.user_id = held.user_id AND c.variant_id IS NOT NULL AND c.override_id IS NULL;

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
       count(*) FILTER (WHERE a.id IS NULL AND c.refusal = 'traffic') AS outside_traffic,
       count(*) FILTER (WHERE a.id IS NULL AND c.refusal = 'target') AS not_targeted,
       count(*) FILTER (WHERE a.id IS NULL AND c.refusal = 'layer') AS outside_layer,
       count(*) FILTER (WHERE a.id IS NULL AND c.refusal = 'holdout') AS held_out
FROM chosen_unit c
LEFT JOIN ab_assignments a ON a.experiment_id = :experiment_id AND a.user_id = c.user_id;

-- name: list_broken_units
-- How many rows name no unit, and the first ones.
SELECT count(*) AS rejected,
       (SELECT json_agg(json_build_array(b.line_number, b.user_id, b.problem))
        FROM (SELECT * FROM broken_unit ORDER BY line_number LIMIT 100) b) AS broken
FROM broken_unit;
