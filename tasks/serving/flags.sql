-- name: rollout_flag
-- What the user gets of the version that the key names, or of the version of the rollout with that
-- name; a version whose rollouts have not begun is a flag that is off.
SELECT flag.model_version, owner.name, owner.id AS rollout_id, owner.hash_version,
       owner.organization,
       coalesce(e.percentage, 0) AS percentage, owner.state::text AS state,
       owner.stage_index, coalesce(e.is_closed, false) AS is_closed,
       bucket(owner.salt, :unit) AS bucket,
       coalesce(bucket(e.salt, :unit) * 100 < e.percentage, false) AS is_drawn,
       e.holdouts IS NOT NULL AS asks_holdouts,
       coalesce(is_held_out(e.holdouts, :unit), false) AS is_held_out
FROM (
    SELECT CAST(:key AS text) AS model_version, 1 AS place
    UNION ALL
    SELECT r.model_version, 2 FROM rollout r
    WHERE r.name = :key
        AND (CAST(:organization AS text) IS NULL
             OR coalesce(r.organization, :organization) = :organization)
) flag
LEFT JOIN LATERAL rollout_exposure(flag.model_version) e ON true
JOIN rollout owner ON owner.id = coalesce(
    e.rollout_id, (SELECT max(r.id) FROM rollout r WHERE r.model_version = flag.model_version))
WHERE CAST(:organization AS text) IS NULL
    OR coalesce(owner.organization, :organization) = :organization
ORDER BY flag.place
LIMIT 1;

-- name: all_rollout_flags
-- What the user gets of every version that has a rollout.
SELECT flag.model_version, owner.name, owner.id AS rollout_id, owner.hash_version,
       coalesce(e.percentage, 0) AS percentage, owner.state::text AS state,
       owner.stage_index, coalesce(e.is_closed, false) AS is_closed,
       bucket(owner.salt, :unit) AS bucket,
       coalesce(bucket(e.salt, :unit) * 100 < e.percentage, false) AS is_drawn,
       e.holdouts IS NOT NULL AS asks_holdouts,
       coalesce(is_held_out(e.holdouts, :unit), false) AS is_held_out
FROM (SELECT r.model_version, max(r.id) AS newest_id FROM rollout r GROUP BY 1) flag
LEFT JOIN LATERAL rollout_exposure(flag.model_version) e ON true
JOIN rollout owner ON owner.id = coalesce(e.rollout_id, flag.newest_id)
WHERE CAST(:organization AS text) IS NULL
    OR coalesce(owner.organization, :organization) = :organization
ORDER BY flag.model_version COLLATE "C";

-- name: experiment_flag
-- The arm of the user, given on the first ask. Of the attributes those are kept with the
-- assignment that the experiment is broken down or corrected by. OFFSET 0: one call a row.
SELECT asked.name, asked.organization, asked.status, asked.control, asked.bucket, asked.is_forced,
       asked.variant, v.model_version
FROM (
    SELECT e.id, e.experiment_name AS name, p.organization, e.status::text AS status,
           (SELECT arm.variant_name FROM ab_variants arm WHERE arm.experiment_id = e.id
            ORDER BY arm.is_control DESC, arm.variant_name COLLATE "C" LIMIT 1) AS control,
           bucket('experiment:' || e.experiment_name, :unit) AS bucket,
           EXISTS (SELECT FROM assignment_override o
                   WHERE o.experiment_id = e.id AND o.user_id = :unit) AS is_forced,
           assign_variant(
               e.experiment_name, :unit, NULL, CAST(:attributes AS jsonb),
               (SELECT coalesce(jsonb_object_agg(given.key, given.value), '{}')
                FROM jsonb_each(CAST(:attributes AS jsonb)) given
                WHERE given.key = ANY (p.dimensions) OR given.key IN (
                    SELECT m.covariate_attribute
                    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
                    WHERE em.experiment_id = e.id))) AS variant
    FROM ab_experiments e LEFT JOIN experiment_plan p ON p.experiment_id = e.id
    WHERE e.experiment_name = :key
        AND (CAST(:organization AS text) IS NULL
             OR coalesce(p.organization, :organization) = :organization)
    OFFSET 0
) asked
LEFT JOIN ab_variants v
    ON v.experiment_id = asked.id AND v.variant_name = coalesce(asked.variant, asked.control);

-- name: held_experiment_flags
-- The arms that the user holds already, or a person chose; nobody is let in here.
SELECT e.experiment_name AS name, e.status::text AS status, NULL AS control,
       bucket('experiment:' || e.experiment_name, :unit) AS bucket,
       forced.variant_name IS NOT NULL AS is_forced,
       coalesce(forced.variant_name, given.variant_name) AS variant,
       coalesce(forced.model_version, given.model_version) AS model_version
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN assignment_override o ON o.experiment_id = e.id AND o.user_id = :unit
LEFT JOIN ab_variants forced ON forced.id = o.variant_id
LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.user_id = :unit
LEFT JOIN ab_variants given ON given.id = a.variant_id
WHERE e.id IN (
        SELECT held.experiment_id FROM ab_assignments held WHERE held.user_id = :unit
        UNION
        SELECT chosen.experiment_id FROM assignment_override chosen WHERE chosen.user_id = :unit)
    AND e.status <> 'archived'
    AND (CAST(:organization AS text) IS NULL
         OR coalesce(p.organization, :organization) = :organization)
ORDER BY e.experiment_name COLLATE "C";
