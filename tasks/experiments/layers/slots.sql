-- name: ensure_layer
-- A layer is there once somebody names it.
INSERT INTO layer (name, created_by, created_at) VALUES (:layer, :actor, headway.clock_now())
ON CONFLICT (name) DO NOTHING;

-- name: lock_layer
-- Who wants a part of the layer waits for who got one.
SELECT name FROM layer WHERE name = :layer FOR UPDATE;

-- name: own_slot
-- The part that an experiment holds.
SELECT layer, lower_bound, upper_bound FROM layer_slot WHERE experiment_id = :experiment_id;

-- name: held_slots
-- Who holds what. The row of what has ended says where it was, and holds nothing.
SELECT e.experiment_name AS experiment, e.status::text AS status, s.lower_bound, s.upper_bound
FROM layer_slot s
JOIN ab_experiments e ON e.id = s.experiment_id
WHERE s.layer = :layer AND e.status NOT IN ('completed', 'archived')
ORDER BY s.lower_bound;

-- name: insert_slot
-- A part of the layer is the experiment's.
INSERT INTO layer_slot (experiment_id, layer, lower_bound, upper_bound)
VALUES (:experiment_id, :layer, :lower, :upper);

-- name: free_slot
-- And is free again.
DELETE FROM layer_slot WHERE experiment_id = :experiment_id;
