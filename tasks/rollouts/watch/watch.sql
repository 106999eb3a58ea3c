-- name: rollouts_to_watch
-- Rollouts that somebody may see the version of; of these versions only, where some are named. A
-- notification's payload holds no more than 1900 characters of one.
SELECT id FROM rollout
WHERE state IN ('running', 'paused', 'manual_hold')
    AND percentage > 0
    AND (CAST(:versions AS text[]) IS NULL
        OR left(model_version, 1900) = ANY(CAST(:versions AS text[])))
ORDER BY id;

-- name: heartbeats
-- Rollouts that no tick came for, and those with an alert of that, by now: which have been without
-- one for two of their intervals, and for how long.
SELECT
    r.id,
    r.name,
    r.model_version,
    r.tick_seconds,
    r.is_fail_closed,
    beat.seconds,
    beat.is_live AND beat.seconds > 2 * r.tick_seconds AS is_missed
FROM rollout r
CROSS JOIN LATERAL (
    SELECT
        r.state IN ('scheduled', 'running', 'paused', 'manual_hold') AS is_live,
        EXTRACT(epoch FROM headway.clock_now() - greatest(
            r.ticked_at,
            CASE r.state WHEN 'scheduled' THEN r.starts_at ELSE r.stage_entered_at END
        ))::float8 AS seconds
) AS beat
WHERE (beat.is_live AND beat.seconds > 2 * r.tick_seconds)
    OR EXISTS (
        SELECT FROM alert
        WHERE subject = 'rollout:' || r.id AND metric = :metric AND alert.state <> 'resolved'
    )
ORDER BY r.id;
