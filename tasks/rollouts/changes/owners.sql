-- name: owned_by_others
-- The newest rollout of the version that belongs to somebody else, or to nobody where this one
-- belongs to somebody. What is only a draft takes no version.
SELECT name, organization
FROM rollout
WHERE model_version = :model_version
    AND state <> 'draft'
    AND organization IS DISTINCT FROM CAST(:organization AS text)
ORDER BY id DESC
LIMIT 1;

-- name: followed_variant
-- The variant whose winner a draft is written down for, if it is for one.
SELECT ab_experiments.experiment_name AS experiment, rollout.variant, ab_variants.model_version
FROM rollout
JOIN ab_experiments ON ab_experiments.id = rollout.experiment_id
JOIN ab_variants
    ON ab_variants.experiment_id = rollout.experiment_id
    AND ab_variants.variant_name = rollout.variant
WHERE rollout.id = :rollout_id;

-- name: experiment_variant
-- The experiment that a rollout follows, if it has that variant; its winner, and what the variant is.
SELECT ab_experiments.id, ab_experiments.winner_variant, ab_variants.model_version
FROM ab_experiments
JOIN ab_variants ON ab_variants.experiment_id = ab_experiments.id
WHERE ab_experiments.experiment_name = :experiment AND ab_variants.variant_name = :variant;
