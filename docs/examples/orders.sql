-- Everybody orders once, and every experiment that the user is in hears of it.
WITH arm AS (
    SELECT user_id, experiment_name, experiment_name || ': ' || variant_name AS name
    FROM ab_assignments AS a JOIN ab_experiments AS e ON e.id = a.experiment_id JOIN ab_variants AS v ON v.id = a.variant_id
    WHERE user_id LIKE 'user-%'
), spent AS (
    SELECT user_id, 14 * bucket('spend', user_id)
        + 0.5 * count(*) FILTER (WHERE name = 'search: new') + 0.3 * count(*) FILTER (WHERE name = 'speed: new')
        - 0.9 * (count(*) FILTER (WHERE name IN ('search: new', 'speed: new')) / 2)
        + 0.4 * count(*) FILTER (WHERE name IN ('photos: new', 'gifts: new')) AS value
    FROM arm GROUP BY user_id
)
SELECT count(track_event(experiment_name, user_id, 'order', value)) FROM arm JOIN spent USING (user_id);
