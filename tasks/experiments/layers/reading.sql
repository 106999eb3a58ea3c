-- name: layers
-- Layers with a row for each experiment that holds a part, from 0 to 1.
SELECT l.name, l.description, l.created_by, l.created_at, held.*
FROM layer l
LEFT JOIN LATERAL (
    SELECT e.experiment_name AS experiment, e.status::text AS status, s.lower_bound, s.upper_bound,
           (SELECT count(*) FROM ab_assignments a
            WHERE a.experiment_id = e.id AND NOT a.is_override) AS units
    FROM layer_slot s JOIN ab_experiments e ON e.id = s.experiment_id
    WHERE s.layer = l.name AND e.status NOT IN ('completed', 'archived')
) held ON true
WHERE CAST(:name AS text) IS NULL OR l.name = :name
ORDER BY l.name COLLATE "C", held.lower_bound;
