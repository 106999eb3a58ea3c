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
       (SELECT json_object_agg(v.variant_name, v.traffic_weight
                               ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        FROM ab_variants v WHERE v.experiment_id = newest.experiment_id) AS weights,
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
       ), '[]') AS ranges
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN assignment_override o ON o.experiment_id = e.id AND o.user_id = :unit
LEFT JOIN ab_variants forced ON forced.id = o.variant_id
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants given ON given.id = a.variant_id
WHERE e.experiment_name = :experiment;
