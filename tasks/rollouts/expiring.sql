-- name: has_health
-- Whether this database has rollouts at all: the ledger is there before them, and after them.
SELECT to_regclass('health_check') IS NOT NULL AND to_regclass('health_sample') IS NOT NULL;

-- name: expire_checks
-- Verdicts on health that have had their time. What the audit rests on stays, and the latest ones
-- of a rollout: they say which slot was decided last.
DELETE FROM health_check AS old
WHERE checked_at < headway.clock_now() - make_interval(days => :days)
    AND slot < (
        SELECT max(slot) FROM health_check AS latest WHERE latest.rollout_id = old.rollout_id
    )
    AND NOT EXISTS (
        SELECT FROM rollout_change WHERE rollout_change.health_check_id = old.id
    );

-- name: expire_samples
-- Samples that have had their time, unless a stage that lasts may still be judged by them.
DELETE FROM health_sample AS old
WHERE observed_at < headway.clock_now() - make_interval(days => :days)
    AND NOT EXISTS (
        SELECT
        FROM rollout
        WHERE state IN ('running', 'paused', 'manual_hold')
            AND old.model_version IN (rollout.model_version, rollout.control_version)
            AND old.observed_at >= rollout.stage_entered_at
    );
