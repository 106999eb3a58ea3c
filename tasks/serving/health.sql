-- name: is_answering
-- Whether the database answers and has what the endpoints call.
SELECT to_regprocedure('rollout_exposure(text)') IS NOT NULL
    AND to_regclass('api_key') IS NOT NULL AS is_migrated;

-- name: last_tick
-- When a rollout was last ticked.
SELECT max(ticked_at) AS ticked_at FROM rollout
WHERE CAST(:organization AS text) IS NULL
    OR coalesce(organization, :organization) = :organization;

-- name: silent_rollouts
-- Rollouts under way, or due to start, that had no tick for two intervals: nobody guards them.
SELECT waiting.name, waiting.model_version, waiting.is_fail_closed, waiting.last_tick_at,
       EXTRACT(epoch FROM headway.clock_now() - waiting.last_tick_at) AS silent_seconds
FROM (
    SELECT r.name, r.model_version, r.is_fail_closed, r.tick_seconds, r.organization,
           CASE WHEN r.state = 'scheduled' THEN greatest(r.starts_at, r.ticked_at)
                ELSE coalesce(r.ticked_at, r.stage_entered_at) END AS last_tick_at
    FROM rollout r WHERE r.state IN ('scheduled', 'running', 'paused', 'manual_hold')
) waiting
WHERE waiting.last_tick_at
        < headway.clock_now() - make_interval(secs => 2 * waiting.tick_seconds)
    AND (CAST(:organization AS text) IS NULL
         OR coalesce(waiting.organization, :organization) = :organization)
ORDER BY waiting.name COLLATE "C";

-- name: rollout_gauges
-- The newest rollout of every version, for the metrics page.
SELECT DISTINCT ON (r.model_version) r.name, r.model_version, r.state::text AS state,
       coalesce(e.percentage, 0) AS percentage,
       CASE WHEN r.state IN ('running', 'paused', 'manual_hold')
           THEN EXTRACT(epoch FROM headway.clock_now() - coalesce(r.ticked_at, r.stage_entered_at))
       END AS tick_age_seconds
FROM rollout r LEFT JOIN LATERAL rollout_exposure(r.model_version) e ON e.rollout_id = r.id
WHERE CAST(:organization AS text) IS NULL
    OR coalesce(r.organization, :organization) = :organization
ORDER BY r.model_version, e.rollout_id IS NULL, r.id DESC;
