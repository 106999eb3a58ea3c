-- name: make_truth
-- Every unit's value again, straight from its events, by other means than a fold: its events in
-- order, one unit after the other. What the log names by now was loaded since this fold, and counts
-- as it was folded.
CREATE TEMPORARY TABLE fold_truth ON COMMIT DROP AS
WITH pending AS (
    SELECT t.experiment_id, t.assignment_id FROM touched_unit t
    WHERE t.experiment_id IN (SELECT experiment_id FROM fold_due) AND t.assignment_id IS NOT NULL
    UNION
    SELECT t.experiment_id, unnest(t.assignment_ids) FROM touched_unit t
    WHERE t.experiment_id IN (SELECT experiment_id FROM fold_due)
), unit AS (
    SELECT d.*, a.id AS assignment_id, a.variant_id, a.assigned_at, a.metadata,
           COALESCE(a.epoch, (
               SELECT l.epoch FROM allocation l
               WHERE l.experiment_id = a.experiment_id AND l.started_at <= a.assigned_at
               ORDER BY l.epoch DESC LIMIT 1
           ), 1) AS epoch,
           d.closes_after IS NULL OR a.assigned_at + d.closes_after <= d.now AS is_over
    FROM fold_due d JOIN ab_assignments a ON a.experiment_id = d.experiment_id
    WHERE NOT d.is_aggregated AND NOT a.is_override
      AND NOT EXISTS (
          SELECT FROM pending p
          WHERE p.experiment_id = a.experiment_id AND p.assignment_id = a.id
      )
), told AS (
    SELECT u.*, value.events, value.seen AS value_seen, denominator.seen AS denominator_seen,
           covariate.seen AS covariate_seen, attribute.x AS attribute
    FROM unit u
    CROSS JOIN LATERAL (
        SELECT count(*) AS events,
               array_agg(m.event_value ORDER BY m.event_timestamp, m.event_value) AS seen
        FROM ab_metrics m
        WHERE u.is_over AND m.assignment_id = u.assignment_id AND m.event_type = u.event_type
          AND m.event_timestamp - u.assigned_at >= u.opens_after
          AND (m.event_timestamp < u.assigned_at + u.closes_after OR u.closes_after IS NULL)
          AND COALESCE(m.event_value, 0) BETWEEN -1e140 AND 1e140
    ) value
    CROSS JOIN LATERAL (
        SELECT array_agg(m.event_value ORDER BY m.event_timestamp, m.event_value) AS seen
        FROM ab_metrics m
        WHERE u.is_over AND m.assignment_id = u.assignment_id
          AND m.event_type = u.denominator_event_type
          AND m.event_timestamp - u.assigned_at >= u.opens_after
          AND (m.event_timestamp < u.assigned_at + u.closes_after OR u.closes_after IS NULL)
          AND COALESCE(m.event_value, 0) BETWEEN -1e140 AND 1e140
    ) denominator
    CROSS JOIN LATERAL (
        SELECT array_agg(m.event_value ORDER BY m.event_timestamp, m.event_value) AS seen
        FROM ab_metrics m
        WHERE u.covariate_before IS NOT NULL AND m.assignment_id = u.assignment_id
          AND m.event_type = u.event_type AND m.event_timestamp < u.assigned_at
          AND m.event_timestamp >= u.assigned_at - u.covariate_before
          AND COALESCE(m.event_value, 0) BETWEEN -1e140 AND 1e140
    ) covariate
    CROSS JOIN LATERAL (
        SELECT CASE WHEN read.text = 'true' THEN 1
                    WHEN read.text ~ '^-?[0-9]{1,15}([.][0-9]{1,15})?$' THEN read.text::float8
                    WHEN jsonb_typeof(u.metadata -> u.covariate_attribute) = 'number'
                         AND abs(read.text::numeric) BETWEEN 1e-140 AND 1e140
                        THEN read.text::float8
                    ELSE 0 END AS x
        FROM (SELECT u.metadata ->> u.covariate_attribute AS text) read
    ) attribute
), worked_out AS (
    SELECT t.*, {value} AS from_events, {denominator} AS from_denominator,
           {covariate} AS from_covariate
    FROM told t
), counted AS (
    SELECT w.*,
           CASE WHEN NOT is_over THEN NULL
                WHEN kind = 'ratio' AND from_denominator IS NULL AND NOT is_zero_if_missing
                    THEN NULL
                WHEN from_events IS NOT NULL THEN from_events
                WHEN is_zero_if_missing THEN 0
                WHEN kind = 'ratio' AND aggregation IN ('sum', 'count', 'any') THEN 0 END AS x,
           CASE WHEN kind = 'ratio' THEN COALESCE(from_denominator, 0) END AS y,
           CASE WHEN covariate_before IS NOT NULL THEN COALESCE(from_covariate, 0)
                WHEN covariate_attribute IS NOT NULL THEN attribute END AS z
    FROM worked_out w
)
SELECT number, assignment_id, variant_id, epoch, events,
       CASE WHEN dimensions <> '{}' THEN (
           SELECT jsonb_object_agg(dimension, COALESCE(left(metadata ->> dimension, 200), '(none)'))
           FROM unnest(dimensions) dimension
       ) END AS levels,
       CASE WHEN NOT is_over THEN assigned_at + closes_after END AS matures_at,
       CASE WHEN abs(x) < 1e-140 THEN 0 ELSE x END AS value,
       CASE WHEN x IS NULL THEN NULL WHEN abs(y) < 1e-140 THEN 0 ELSE y END AS denominator,
       CASE WHEN x IS NULL THEN NULL WHEN abs(z) < 1e-140 THEN 0 ELSE z END AS covariate
FROM counted
UNION ALL
SELECT d.number, v.assignment_id, v.variant_id, v.epoch, v.events, v.levels, v.matures_at,
       v.value, v.denominator, v.covariate
FROM fold_due d JOIN unit_value v USING (experiment_id, metric_id)
JOIN pending p ON p.experiment_id = v.experiment_id AND p.assignment_id = v.assignment_id
WHERE NOT d.is_aggregated

-- name: value_of_array
-- The value of events in order, {seen}, by an aggregation; null without any.
(SELECT CASE {aggregation}
            WHEN 'sum' THEN sum(x) WHEN 'mean' THEN avg(x)
            WHEN 'min' THEN min(x) WHEN 'max' THEN max(x)
            WHEN 'first' THEN (array_remove({seen}, NULL))[1]
            WHEN 'last' THEN (array_remove({seen}, NULL))[cardinality(array_remove({seen}, NULL))]
            WHEN 'count' THEN cardinality({seen})::float8
            WHEN 'any' THEN sign(cardinality({seen})) END
 FROM unnest({seen}) x)

-- name: make_gaps
-- Each statistic as it was folded and as it is, and how far apart: relative to itself, a mean also
-- to the spread, and a spread to what doubles of that size can tell.
CREATE TEMPORARY TABLE fold_gap ON COMMIT DROP AS
WITH known AS (
    SELECT DISTINCT d.number, s.dimension, s.level
    FROM fold_due d JOIN moment_statistic s USING (experiment_id, metric_id)
), capped AS (
    SELECT t.number, t.variant_id, t.epoch, t.levels, t.events, t.denominator AS y,
           t.covariate AS z, CASE WHEN t.value > d.cap THEN d.cap ELSE t.value END AS x
    FROM fold_truth t JOIN fold_due d USING (number)
), placed AS (
    SELECT number, variant_id, '' AS dimension, '' AS level, events, x, y, z FROM capped
    UNION ALL
    SELECT number, variant_id, 'epoch', epoch::text, events, x, y, z FROM capped
    UNION ALL
    SELECT c.number, c.variant_id, l.key, COALESCE(k.level, '(other)'), c.events, c.x, c.y, c.z
    FROM capped c CROSS JOIN LATERAL jsonb_each_text(c.levels) l
    LEFT JOIN known k ON k.number = c.number AND k.dimension = l.key AND k.level = l.value
), middle AS (
    SELECT number, variant_id, dimension, level, count(*) AS assigned,
           sum(events)::bigint AS events, count(*) FILTER (WHERE events > 0) AS converted,
           count(x) AS n, avg(x) AS mean, avg(y) AS denominator_mean, avg(z) AS covariate_mean
    FROM placed GROUP BY number, variant_id, dimension, level
), away AS (
    SELECT p.number, p.variant_id, p.dimension, p.level,
           CASE WHEN abs(x - mean) > 1e-150 THEN x - mean WHEN x IS NOT NULL THEN 0 END AS x,
           CASE WHEN abs(y - denominator_mean) > 1e-150 THEN y - denominator_mean
                WHEN y IS NOT NULL THEN 0 END AS y,
           CASE WHEN abs(z - covariate_mean) > 1e-150 THEN z - covariate_mean
                WHEN z IS NOT NULL THEN 0 END AS z
    FROM placed p JOIN middle m USING (number, variant_id, dimension, level)
), truth AS (
    SELECT m.*, a.m2, a.denominator_m2, a.denominator_c2, a.covariate_m2, a.covariate_c2
    FROM middle m JOIN (
        SELECT number, variant_id, dimension, level, sum(x * x) AS m2, sum(y * y) AS denominator_m2,
               sum(x * y) AS denominator_c2, sum(z * z) AS covariate_m2, sum(x * z) AS covariate_c2
        FROM away GROUP BY number, variant_id, dimension, level
    ) a USING (number, variant_id, dimension, level)
), folded AS (
    SELECT d.number, s.* FROM fold_due d JOIN moment_statistic s USING (experiment_id, metric_id)
    WHERE NOT d.is_aggregated
), pair AS (
    SELECT COALESCE(f.number, t.number) AS number,
           COALESCE(f.variant_id, t.variant_id) AS variant_id,
           COALESCE(f.dimension, t.dimension) AS dimension, COALESCE(f.level, t.level) AS level,
           f, t, COALESCE(t.n, f.n, 0) AS n,
           COALESCE(t.m2, 0) + COALESCE(t.n, 0)
               * power(1e-140 + abs(COALESCE(t.mean, 0)), 2) * 1e-19 AS spread,
           COALESCE(t.denominator_m2, 0) + COALESCE(t.n, 0)
               * power(1e-140 + abs(COALESCE(t.denominator_mean, 0)), 2) * 1e-19
               AS denominator_spread,
           COALESCE(t.covariate_m2, 0) + COALESCE(t.n, 0)
               * power(1e-140 + abs(COALESCE(t.covariate_mean, 0)), 2) * 1e-19
               AS covariate_spread
    FROM folded f FULL JOIN truth t
        ON t.number = f.number AND t.variant_id = f.variant_id AND t.dimension = f.dimension
        AND t.level = f.level
)
SELECT p.number, p.variant_id, p.dimension, p.level, s.statistic, s.folded, s.actual,
       CASE WHEN s.folded = s.actual THEN 0
            ELSE least(abs(s.folded - s.actual) / NULLIF(s.scale, 0), 1e300) END AS gap
FROM pair p
CROSS JOIN LATERAL (
    SELECT statistic, COALESCE(folded, 0) AS folded, COALESCE(actual, 0) AS actual,
           COALESCE(scale, greatest(abs(actual), abs(folded), 1)) AS scale
    FROM (VALUES
        ('assigned', (p.f).assigned::float8, (p.t).assigned::float8, NULL::float8),
        ('events', (p.f).events, (p.t).events, NULL),
        ('converted', (p.f).converted, (p.t).converted, NULL),
        ('n', (p.f).n, (p.t).n, NULL),
        ('mean', (p.f).mean, (p.t).mean,
         greatest(abs((p.t).mean), sqrt(p.spread / NULLIF(p.n, 0)))),
        ('m2', (p.f).m2, (p.t).m2, p.spread),
        ('denominator_mean', (p.f).denominator_mean, (p.t).denominator_mean,
         greatest(abs((p.t).denominator_mean), sqrt(p.denominator_spread / NULLIF(p.n, 0)))),
        ('denominator_m2', (p.f).denominator_m2, (p.t).denominator_m2, p.denominator_spread),
        ('denominator_c2', (p.f).denominator_c2, (p.t).denominator_c2,
         sqrt(p.spread) * sqrt(p.denominator_spread)),
        ('covariate_mean', (p.f).covariate_mean, (p.t).covariate_mean,
         greatest(abs((p.t).covariate_mean), sqrt(p.covariate_spread / NULLIF(p.n, 0)))),
        ('covariate_m2', (p.f).covariate_m2, (p.t).covariate_m2, p.covariate_spread),
        ('covariate_c2', (p.f).covariate_c2, (p.t).covariate_c2,
         sqrt(p.spread) * sqrt(p.covariate_spread))
    ) statistic (statistic, folded, actual, scale)
) s;

-- name: differences
-- What differs by more than rounding.
SELECT e.experiment_name AS experiment, m.name AS metric, v.variant_name AS variant, g.dimension,
       g.level, g.statistic, g.folded, g.actual, g.gap
FROM fold_gap g
JOIN fold_due d USING (number)
JOIN ab_experiments e ON e.id = d.experiment_id
JOIN metric m ON m.id = d.metric_id
JOIN ab_variants v ON v.id = g.variant_id
WHERE COALESCE(g.gap, 1) > :tolerance
ORDER BY e.experiment_name, m.name, v.variant_name, g.dimension, g.level, g.statistic;

-- name: drop_false_values
-- Values of units that do not count.
DELETE FROM unit_value v USING fold_due d
WHERE v.experiment_id = d.experiment_id AND v.metric_id = d.metric_id AND NOT EXISTS (
    SELECT FROM fold_truth t WHERE t.number = d.number AND t.assignment_id = v.assignment_id
);

-- name: keep_true_values
-- The values as they are, where they differ by more than rounding.
INSERT INTO unit_value AS old (
    experiment_id, metric_id, assignment_id, variant_id, epoch, value, denominator, covariate,
    events, levels, matures_at
)
SELECT d.experiment_id, d.metric_id, t.assignment_id, t.variant_id, t.epoch, t.value,
       t.denominator, t.covariate, t.events, t.levels, t.matures_at
FROM fold_due d JOIN fold_truth t ON t.number = d.number
ON CONFLICT (experiment_id, metric_id, assignment_id) DO UPDATE
SET (variant_id, epoch, value, denominator, covariate, events, levels, matures_at) = (
        excluded.variant_id, excluded.epoch, excluded.value, excluded.denominator,
        excluded.covariate, excluded.events, excluded.levels, excluded.matures_at
    )
WHERE (old.variant_id, old.epoch, old.events, old.levels, old.matures_at)
      IS DISTINCT FROM
      (excluded.variant_id, excluded.epoch, excluded.events, excluded.levels, excluded.matures_at)
   OR num_nulls(old.value, old.denominator, old.covariate)
      <> num_nulls(excluded.value, excluded.denominator, excluded.covariate)
   OR abs(old.value - excluded.value) > :tolerance * abs(excluded.value)
   OR abs(old.denominator - excluded.denominator) > :tolerance * abs(excluded.denominator)
   OR abs(old.covariate - excluded.covariate) > :tolerance * abs(excluded.covariate);

-- name: mark_all_whole
-- All moments are made anew, from the values that are kept.
UPDATE fold_due SET is_whole = true, is_full = false;

-- name: record_recompute
-- When the moments were last proven, and the largest difference found.
UPDATE fold_state f
SET recomputed_at = d.now, recomputed_gap = g.gap
FROM fold_due d
LEFT JOIN (SELECT number, max(gap) AS gap FROM fold_gap GROUP BY number) g USING (number)
WHERE f.experiment_id = d.experiment_id AND f.metric_id = d.metric_id;
