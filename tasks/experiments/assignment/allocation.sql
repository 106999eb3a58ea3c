-- name: lock_allocations
-- One change of a split at a time, in one order for all; assignments do not wait for it.
SELECT id, experiment_name AS name, status::text AS status
FROM ab_experiments WHERE id = ANY(CAST(:experiment_ids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE;

-- name: open_first_epochs
-- The splits that experiments start with, of those that have none yet.
SELECT open_first_allocation(asked.id, headway.clock_now(), :actor, :reason)
FROM unnest(CAST(:experiment_ids AS uuid[])) asked (id)
WHERE NOT EXISTS (SELECT FROM allocation_range r WHERE r.experiment_id = asked.id);

-- name: current_splits
-- The newest epoch of each: weights in the order of assignment, and the ranges of the bucket.
SELECT newest.experiment_id, newest.epoch,
       (SELECT json_object_agg(v.variant_name, w.weight
                               ORDER BY v.is_control DESC, v.variant_name COLLATE "C")
        FROM allocation_weight w JOIN ab_variants v ON v.id = w.variant_id
        WHERE w.experiment_id = newest.experiment_id AND w.epoch = newest.epoch) AS weights,
       (SELECT json_agg(json_build_array(r.lower_bound, v.variant_name) ORDER BY r.lower_bound)
        FROM allocation_range r JOIN ab_variants v ON v.id = r.variant_id
        WHERE r.experiment_id = newest.experiment_id AND r.epoch = newest.epoch) AS ranges
FROM unnest(CAST(:experiment_ids AS uuid[])) asked (id)
CROSS JOIN LATERAL (
    SELECT a.experiment_id, a.epoch FROM allocation a WHERE a.experiment_id = asked.id
    ORDER BY a.epoch DESC LIMIT 1
) newest;

-- name: open_epochs
-- New splits: their weights and ranges, and the same where applications and reports look.
WITH wanted AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(:splits AS json)) AS split (
        experiment_id uuid, epoch integer, weights json, ranges json, reason text
    )
), weight AS MATERIALIZED (
    SELECT wanted.experiment_id, wanted.epoch, v.id AS variant_id,
           CAST(each.value AS double precision) AS weight
    FROM wanted CROSS JOIN LATERAL json_each_text(wanted.weights) each
    JOIN ab_variants v
        ON v.experiment_id = wanted.experiment_id AND v.variant_name = each.key
), opened AS (
    INSERT INTO allocation (experiment_id, epoch, started_at, actor, reason)
    SELECT experiment_id, epoch, headway.clock_now(), CAST(:actor AS text), reason FROM wanted
), weighted AS (
    INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
    SELECT experiment_id, epoch, variant_id, weight FROM weight
), ranged AS (
    INSERT INTO allocation_range (experiment_id, epoch, lower_bound, variant_id)
    SELECT wanted.experiment_id, wanted.epoch,
           CAST(range.bounds ->> 0 AS double precision), v.id
    FROM wanted CROSS JOIN LATERAL json_array_elements(wanted.ranges) range (bounds)
    JOIN ab_variants v
        ON v.experiment_id = wanted.experiment_id AND v.variant_name = range.bounds ->> 1
), shown AS (
    UPDATE ab_variants v
    SET traffic_weight = weight.weight, updated_at = headway.clock_now()
    FROM weight WHERE v.id = weight.variant_id
)
UPDATE ab_experiments e
SET default_traffic_split = CAST(wanted.weights AS jsonb), updated_at = headway.clock_now()
FROM wanted WHERE e.id = wanted.experiment_id;
