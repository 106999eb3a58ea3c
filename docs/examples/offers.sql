-- 10 % of the customers order; by the month 1.5 points more, and 2 more with a warm headline.
SELECT count(track_event('offer', user_id, 'order')) AS ordered
FROM ab_assignments AS a JOIN ab_experiments AS e ON e.id = a.experiment_id JOIN ab_variants AS v ON v.id = a.variant_id
WHERE experiment_name = 'offer' AND bucket('orders', user_id)
    < 0.10 + CASE WHEN variant_name LIKE '%price=monthly%' THEN 0.015 ELSE 0 END
           + CASE WHEN variant_name LIKE '%headline=warm,price=monthly%' THEN 0.02 ELSE 0 END;
