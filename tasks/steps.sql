-- name: purge_step
-- Steps of runs that ended long ago; a `once` row is what prevents the second time, so it stays.
DELETE FROM headway.step
WHERE scope = 'run' AND finished_at < headway.clock_now() - CAST(:older_than AS interval);

-- name: purge_step_attempt
-- Failed attempts of long ago.
DELETE FROM headway.step_attempt
WHERE failed_at < headway.clock_now() - CAST(:older_than AS interval);

-- name: purge_effect
-- Journal rows that are done and whose step can no longer resume.
DELETE FROM headway.effect AS e
WHERE e.done_at < headway.clock_now() - CAST(:older_than AS interval)
  AND NOT EXISTS (SELECT 1 FROM headway.step AS s WHERE s.key = e.step_key AND s.scope = 'once');

-- name: purge_run
-- Runs that ended long ago; one that never ended stays until somebody resumes or ends it.
DELETE FROM headway.run
WHERE finished_at < headway.clock_now() - CAST(:older_than AS interval);
