-- name: overlapping_pairs
-- Pairs of active experiments with the units that both have, those with the most first. Holdouts
-- share their units with everything, by design. Where there are many units a sample is counted,
-- the same units of every experiment.
WITH running AS (
    SELECT e.id, e.experiment_name AS name, COALESCE(s.assigned, 0) AS assigned
    FROM ab_experiments e
    JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
    LEFT JOIN experiment_plan p ON p.experiment_id = e.id
    LEFT JOIN LATERAL (
        SELECT sum(m.assigned) AS assigned
        FROM moment_statistic m
        WHERE m.experiment_id = e.id AND m.metric_id = em.metric_id AND m.dimension = ''
    ) s ON true
    WHERE e.status = 'active' AND NOT COALESCE(p.is_holdout, false)
), sampling AS (
    SELECT CAST(greatest(1, ceil(sum(assigned) / CAST(:counted_units AS double precision)))
                AS bigint) AS one_of
    FROM running
), counted AS (
    SELECT r.id, r.name, a.user_id
    FROM running r
    CROSS JOIN sampling
    JOIN ab_assignments a ON a.experiment_id = r.id AND NOT a.is_override
    WHERE sampling.one_of = 1
       OR hashtextextended(a.user_id, 0) % sampling.one_of = 0
)
SELECT a.id::text AS first_id, b.id::text AS second_id,
       count(*) * (SELECT one_of FROM sampling) AS units, count(*) OVER () AS overlapping
FROM counted a JOIN counted b ON b.user_id = a.user_id AND b.name COLLATE "C" > a.name COLLATE "C"
GROUP BY a.id, a.name, b.id, b.name
ORDER BY units DESC, a.name COLLATE "C", b.name COLLATE "C"
LIMIT :most;

-- name: measured_experiments
-- Experiments with their arms, the control first, and their primary metric.
SELECT e.id::text AS id, e.experiment_name AS name, m.name AS metric, m.kind,
       m.denominator_event_type IS NOT NULL AS has_denominator,
       (SELECT count(*) > 1 FROM allocation l WHERE l.experiment_id = e.id) AS is_moved,
       ARRAY(SELECT v.variant_name FROM ab_variants v WHERE v.experiment_id = e.id
             ORDER BY v.is_control DESC, v.variant_name COLLATE "C") AS arms
FROM ab_experiments e
JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
JOIN metric m ON m.id = em.metric_id
WHERE e.id = ANY(CAST(:experiment_ids AS uuid[]));

-- name: shared_cells
-- Units of pairs of experiments by the arms they got in each, with the moments of the primary
-- metric of either; values are capped as they were folded.
WITH pair AS (
    SELECT p.number, p.first_id, p.second_id, one.metric_id AS first_metric,
           other.metric_id AS second_metric, f.cap AS first_cap, s.cap AS second_cap
    FROM unnest(CAST(:first_ids AS uuid[]), CAST(:second_ids AS uuid[]))
        WITH ORDINALITY p (first_id, second_id, number)
    JOIN experiment_metric one ON one.experiment_id = p.first_id AND one.role = 'primary'
    JOIN experiment_metric other ON other.experiment_id = p.second_id AND other.role = 'primary'
    LEFT JOIN fold_state f ON (f.experiment_id, f.metric_id) = (p.first_id, one.metric_id)
    LEFT JOIN fold_state s ON (s.experiment_id, s.metric_id) = (p.second_id, other.metric_id)
), shared AS (
    SELECT p.number, a.variant_id AS first_arm, b.variant_id AS second_arm,
           CASE WHEN u.value > p.first_cap THEN p.first_cap ELSE u.value END AS x, u.denominator AS xd,
           CASE WHEN w.value > p.second_cap THEN p.second_cap ELSE w.value END AS y, w.denominator AS yd
    FROM pair p
    JOIN ab_assignments a ON a.experiment_id = p.first_id AND NOT a.is_override
    JOIN ab_assignments b
      ON b.experiment_id = p.second_id AND b.user_id = a.user_id AND NOT b.is_override
    LEFT JOIN unit_value u
      ON (u.experiment_id, u.metric_id, u.assignment_id) = (p.first_id, p.first_metric, a.id)
    LEFT JOIN unit_value w
      ON (w.experiment_id, w.metric_id, w.assignment_id) = (p.second_id, p.second_metric, b.id)
)
SELECT s.number, one.variant_name AS first_arm, other.variant_name AS second_arm, s.units,
       s.first_cell, s.second_cell
FROM (
    SELECT number, first_arm, second_arm, count(*) AS units,
           json_build_object(
               'n', count(x), 'mean', COALESCE(avg(x), 0),
               'm2', COALESCE(var_pop(x) * count(x), 0),
               'denominator', json_build_object(
                   'mean', COALESCE(avg(xd) FILTER (WHERE x IS NOT NULL), 0),
                   'm2', COALESCE(regr_sxx(x, xd), 0), 'c2', COALESCE(regr_sxy(x, xd), 0))
           ) AS first_cell,
           json_build_object(
               'n', count(y), 'mean', COALESCE(avg(y), 0),
               'm2', COALESCE(var_pop(y) * count(y), 0),
               'denominator', json_build_object(
                   'mean', COALESCE(avg(yd) FILTER (WHERE y IS NOT NULL), 0),
                   'm2', COALESCE(regr_sxx(y, yd), 0), 'c2', COALESCE(regr_sxy(y, yd), 0))
           ) AS second_cell
    FROM shared
    GROUP BY number, first_arm, second_arm
) s
JOIN ab_variants one ON one.id = s.first_arm
JOIN ab_variants other ON other.id = s.second_arm
ORDER BY s.number, first_arm, second_arm;

-- name: ended_pairs
-- Open alerts of pairs of which one no longer runs.
SELECT a.subject
FROM alert a
WHERE a.metric = :metric AND a.state <> 'resolved' AND (
    SELECT count(*) FROM ab_experiments e
    WHERE e.experiment_name IN (a.details ->> 'first', a.details ->> 'second')
      AND e.status = 'active') < 2;

-- name: last_scan
-- The newest scan.
SELECT id, decided_at, verdict, details, inputs
FROM headway.decision
WHERE subject = :subject
ORDER BY id DESC LIMIT 1;
