-- name: lock_experiments
-- One fold of an experiment at a time, in one order; room to sort and hash, a disk that seeks well.
SELECT set_config('work_mem', '256MB', true), set_config('random_page_cost', '1.1', true),
       set_config('parallel_tuple_cost', '0.01', true), -- groups, not rows, change hands
       set_config('jit', 'off', true), count(pg_advisory_xact_lock(asked.number))
FROM (
    SELECT hashtextextended('fold:' || experiment_id, 0) AS number
    FROM unnest(CAST(:experiment_ids AS uuid[])) experiment_id
    ORDER BY number OFFSET 0
) asked;

-- name: drop_tables
-- What an earlier fold of the same transaction left.
DROP TABLE IF EXISTS pg_temp.fold_due, pg_temp.fold_unit, pg_temp.fold_value, pg_temp.fold_old,
                     pg_temp.fold_change, pg_temp.fold_truth, pg_temp.fold_gap;

-- name: forget_metrics
-- A metric that its experiment no longer has is folded in full should it come back.
DELETE FROM fold_state f
WHERE f.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
  AND NOT EXISTS (
      SELECT FROM experiment_metric em
      WHERE em.experiment_id = f.experiment_id AND em.metric_id = f.metric_id
  );

-- name: make_due
-- What is to be folded, and how: one row a metric of an experiment.
CREATE TEMPORARY TABLE fold_due ON COMMIT DROP AS
WITH defined AS (
    SELECT em.experiment_id, em.metric_id, m.kind, m.event_type,
           CASE WHEN m.kind IN ('proportion', 'retention') THEN 'any'
                ELSE m.aggregation END AS aggregation,
           m.kind IN ('proportion', 'retention') OR m.missing = 'zero' AS is_zero_if_missing,
           make_interval(secs => m.window_start_hours * 3600) AS opens_after,
           make_interval(secs => m.window_hours * 3600) AS closes_after,
           m.cap_quantile, make_interval(hours => 24 * m.covariate_days) AS covariate_before,
           m.covariate_attribute,
           CASE WHEN m.kind = 'ratio' THEN COALESCE(m.denominator_event_type, m.event_type)
           END AS denominator_event_type,
           COALESCE(m.denominator_aggregation, 'count') AS denominator_aggregation,
           array_remove(array_remove(COALESCE(p.dimensions, '{}'), 'epoch'), '') AS dimensions,
           EXISTS (
               SELECT FROM aggregate_statistic s
               WHERE s.experiment_id = em.experiment_id AND s.metric_id = em.metric_id
           ) AND NOT EXISTS (
               -- Units of the experiment's own count, and nothing that is said beside them.
               SELECT FROM ab_assignments a
               WHERE a.experiment_id = em.experiment_id AND NOT a.is_override
           ) AS is_aggregated
    FROM experiment_metric em
    JOIN metric m ON m.id = em.metric_id
    LEFT JOIN experiment_plan p ON p.experiment_id = em.experiment_id
    WHERE em.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
), named AS (
    SELECT d.*, md5(CAST(to_jsonb(d) - ARRAY['experiment_id', 'metric_id'] AS text)) AS definition
    FROM defined d
)
SELECT row_number() OVER (ORDER BY d.experiment_id, d.metric_id)::integer AS number, d.*,
       f.definition IS DISTINCT FROM d.definition AS is_full,
       -- Moments made anew from the units' values, instead of by their differences.
       f.definition IS DISTINCT FROM d.definition AS is_whole,
       CASE WHEN f.definition = d.definition THEN f.cap END AS cap,
       CASE WHEN f.definition = d.definition THEN f.cap_frozen_on END AS cap_frozen_on,
       f.folded_at, headway.clock_now() AS now
FROM named d
LEFT JOIN fold_state f ON f.experiment_id = d.experiment_id AND f.metric_id = d.metric_id;

-- name: read_due
-- What is to be folded, for us.
SELECT number, experiment_id::text AS experiment_id, is_full AND NOT is_aggregated AS is_full,
       event_type, aggregation::text AS aggregation, opens_after::text AS opens_after,
       closes_after::text AS closes_after,
       denominator_aggregation::text AS denominator_aggregation,
       opens_after > interval '0' OR closes_after IS NOT NULL AS has_window,
       array_remove(ARRAY[
           CASE WHEN closes_after IS NOT NULL THEN 'closes_after' END,
           CASE WHEN denominator_event_type IS NOT NULL THEN 'denominator_event_type' END,
           CASE WHEN covariate_before IS NOT NULL THEN 'covariate_before' END,
           CASE WHEN covariate_attribute IS NOT NULL THEN 'covariate_attribute' END,
           CASE WHEN dimensions <> '{}' THEN 'dimensions' END
       ], NULL) AS uses
FROM fold_due ORDER BY number;

-- name: make_units
-- Whose values are to be worked out again.
CREATE TEMPORARY TABLE fold_unit (number integer, assignment_id uuid) ON COMMIT DROP;

-- name: take_units
-- The units that were touched, and those whose window is over since. What is logged from now on
-- stays for the next fold, though its events may be seen by this one already.
WITH taken AS (
    DELETE FROM touched_unit WHERE experiment_id = ANY(CAST(:experiment_ids AS uuid[]))
    RETURNING experiment_id, assignment_id, assignment_ids
), stale AS (
    SELECT number, experiment_id, metric_id FROM fold_due WHERE NOT is_full AND NOT is_aggregated
), touched AS (
    SELECT t.experiment_id, t.assignment_id FROM taken t
    WHERE t.assignment_id IS NOT NULL
    UNION
    SELECT t.experiment_id, unnest(t.assignment_ids) FROM taken t
    WHERE t.experiment_id IN (SELECT experiment_id FROM stale)
)
INSERT INTO fold_unit
SELECT s.number, t.assignment_id FROM stale s JOIN touched t USING (experiment_id)
UNION
SELECT s.number, v.assignment_id
FROM stale s JOIN unit_value v USING (experiment_id, metric_id)
WHERE v.matures_at <= headway.clock_now()
ORDER BY assignment_id, number; -- neighbours in an index lie on one page

-- name: value_by_sum
-- One value of several events: all together. So are the next ones; null without any event.
sum(m.event_value) FILTER (WHERE {condition})

-- name: value_by_mean
-- Their mean.
avg(m.event_value) FILTER (WHERE {condition})

-- name: value_by_min
-- The smallest.
min(m.event_value) FILTER (WHERE {condition})

-- name: value_by_max
-- The largest.
max(m.event_value) FILTER (WHERE {condition})

-- name: value_by_first
-- The first that has one; the last element decides among arrays whose first ones are equal.
(min(ARRAY[extract(epoch FROM m.event_timestamp)::float8, m.event_value])
 FILTER (WHERE {condition}))[2]

-- name: value_by_last
-- The last that has one.
(max(ARRAY[extract(epoch FROM m.event_timestamp)::float8, m.event_value])
 FILTER (WHERE {condition}))[2]

-- name: value_by_count
-- How many.
NULLIF(count(m.assignment_id) FILTER (WHERE {condition}), 0)::float8

-- name: value_by_any
-- Whether there is one.
CASE WHEN count(m.assignment_id) FILTER (WHERE {condition}) > 0 THEN 1.0::float8 END

-- name: all_units
-- Every unit of some metrics, of an experiment one at most. No temporary table is read, so that
-- Postgres may share the work out.
unnest(
    CAST(:experiment_ids AS uuid[]), CAST(:event_types AS text[]), CAST(:aggregations AS text[]),
    CAST(:opens_after AS interval[]), CAST(:closes_after AS interval[])
) d (experiment_id, event_type, aggregation, opens_after, closes_after)
JOIN ab_assignments a ON a.experiment_id = d.experiment_id

-- name: all_units_alike
-- The same where all metrics are alike but for their experiment.
ab_assignments a

-- name: units_of_all
-- Units of these experiments.
a.experiment_id = ANY(CAST(:experiment_ids AS uuid[]))

-- name: one_event_type
-- The type of event that all metrics read: Postgres plans better for what it knows.
(CAST(:event_types AS text[]))[1]

-- name: stale_units
-- The units to work out again.
fold_unit u JOIN fold_due d ON d.number = u.number JOIN ab_assignments a ON a.id = u.assignment_id

-- name: metric_of_all
-- The one metric of an experiment that a layer has.
d.experiment_id = a.experiment_id AND d.number = ANY(CAST(:numbers AS integer[]))

-- name: metric_of_stale
-- The metric that a unit is worked out for.
d.number = a.number

-- name: from_assignment
-- When an event counts, where no metric has a window. As `>=` Postgres would take it for one event
-- in three, and plan for that.
timestamptz_cmp(m.event_timestamp, a.assigned_at) <> -1

-- name: in_window
-- When an event counts: from the start of the window to its end.
m.event_timestamp >= a.assigned_at + d.opens_after
AND (d.closes_after IS NULL OR m.event_timestamp < a.assigned_at + d.closes_after)

-- name: looked_up_once
-- What looks events up is worked out once, not wherever it is named.
OFFSET 0

-- name: make_values
-- The value of each unit, from its events. A unit whose window is open has none yet, and says when
-- it will.
SELECT v.number, v.assignment_id, v.variant_id, v.epoch, v.levels, v.matures_at, v.left_out,
       v.events,
       CASE WHEN v.value IS NULL OR v.denominator IS NULL THEN NULL
            WHEN abs(v.value) < 1e-140 THEN 0 ELSE v.value END AS value,
       CASE WHEN v.is_ratio AND v.value IS NOT NULL THEN
           CASE WHEN abs(v.denominator) < 1e-140 THEN 0 ELSE v.denominator END END AS denominator,
       CASE WHEN v.value IS NULL OR v.denominator IS NULL THEN NULL
            WHEN abs(v.covariate) < 1e-140 THEN 0 ELSE v.covariate END AS covariate
FROM (
    SELECT d.number, a.id AS assignment_id, a.variant_id,
           {denominator_event_type} IS NOT NULL AS is_ratio,
           -- One is looked for only where the assignment does not say: a loaded file, mostly.
           COALESCE(a.epoch, (
               SELECT max(l.epoch) FROM allocation l
               WHERE l.experiment_id = a.experiment_id AND l.started_at <= a.assigned_at
           ), 1) AS epoch,
           CASE WHEN {dimensions} <> '{}' THEN (
               -- An index row has little room: a level is cut.
               SELECT jsonb_object_agg(
                   dimension, COALESCE(left(a.metadata ->> dimension, 200), '(none)')
               )
               FROM unnest({dimensions}) dimension
           ) END AS levels,
           CASE WHEN o.is_open THEN a.assigned_at + {closes_after} END AS matures_at,
           CASE WHEN o.is_open THEN 0 ELSE a.seen - a.left_out END AS events,
           CASE WHEN o.is_open THEN 0 ELSE a.left_out END AS left_out,
           CASE WHEN NOT o.is_open THEN COALESCE(a.value, CASE
               WHEN d.is_zero_if_missing THEN 0
               -- A ratio's unit is one that has a denominator; nothing else is still a sum.
               WHEN {denominator_event_type} IS NOT NULL
                    AND d.aggregation IN ('sum', 'count', 'any') THEN 0
           END) END AS value,
           CASE WHEN {denominator_event_type} IS NULL THEN 1
                WHEN NOT o.is_open THEN COALESCE((
                    SELECT {denominator} FROM ab_metrics m
                    WHERE m.assignment_id = a.id
                      AND m.event_type = {denominator_event_type}
                      AND {window}
                ), CASE WHEN d.is_zero_if_missing THEN 0 END) END AS denominator,
           CASE WHEN o.is_open THEN NULL
                WHEN {covariate_before} IS NOT NULL THEN COALESCE((
                    SELECT {covariate} FROM ab_metrics m
                    WHERE m.assignment_id = a.id AND m.event_type = d.event_type
                      AND m.event_timestamp < a.assigned_at
                      AND m.event_timestamp >= a.assigned_at - {covariate_before}
                ), 0)
                WHEN {covariate_attribute} IS NOT NULL THEN (
                    SELECT CASE WHEN abs(x) BETWEEN 1e-140 AND 1e140 THEN x::float8 ELSE 0 END
                    FROM (SELECT CASE jsonb_typeof(a.metadata -> {covariate_attribute})
                        WHEN 'number' THEN (a.metadata ->> {covariate_attribute})::numeric
                        WHEN 'boolean' THEN (a.metadata ->> {covariate_attribute})::boolean::integer
                        WHEN 'string' THEN substring(
                            a.metadata ->> {covariate_attribute}, '^-?\d{1,15}(?:\.\d{1,15})?$'
                        )::numeric END
                    ) read (x)
                ) END AS covariate
    FROM (
        SELECT {key}, a.experiment_id, a.variant_id, a.epoch, a.assigned_at,
               {metadata} AS metadata, {value} AS value, count(m.assignment_id) AS seen,
               count(*) FILTER (WHERE {unusable}) AS left_out
        FROM {units}
        -- Units without events too: so many groups, at least, Postgres must plan for.
        LEFT JOIN ab_metrics m
            ON m.assignment_id = a.id AND m.event_type = {event_type} AND {window}
        WHERE NOT a.is_override AND {these}
        GROUP BY {key}
    ) a
    JOIN fold_due d ON {metric}
    CROSS JOIN LATERAL (
        SELECT COALESCE(a.assigned_at + {closes_after} > d.now, false) AS is_open
    ) o
    {fence}
) v

-- name: moments
-- Sufficient statistics of values: the columns of moment_statistic.
count(*) AS assigned, COALESCE(sum(events), 0)::bigint AS events,
count(*) FILTER (WHERE events > 0) AS converted, count(value) AS n,
COALESCE(CASE WHEN min(value) < max(value) THEN avg(value) ELSE min(value) END, 0) AS mean,
-- Rounding must not look like a spread where there is none.
CASE WHEN min(value) < max(value) THEN var_pop(value) * count(value) ELSE 0 END AS m2,
COALESCE(regr_avgx(value, denominator), 0) AS denominator_mean,
COALESCE(regr_sxx(value, denominator), 0) AS denominator_m2,
COALESCE(regr_sxy(value, denominator), 0) AS denominator_c2,
COALESCE(regr_avgx(value, covariate), 0) AS covariate_mean,
COALESCE(regr_sxx(value, covariate), 0) AS covariate_m2,
COALESCE(regr_sxy(value, covariate), 0) AS covariate_c2

-- name: make_old
-- What was kept of those units, and where: looked up once. Nobody else moves it, the lock sees to it.
CREATE TEMPORARY TABLE fold_old ON COMMIT DROP AS
SELECT u.number, u.assignment_id, o.ctid AS place, o.variant_id, o.epoch, o.levels, o.events,
       o.value, o.denominator, o.covariate, o.matures_at
FROM fold_unit u
JOIN fold_due d ON d.number = u.number
LEFT JOIN unit_value o ON o.experiment_id = d.experiment_id AND o.metric_id = d.metric_id
                      AND o.assignment_id = u.assignment_id;

-- name: make_change
-- The moments of each cell (metric, arm, dimension, level) that changes, less what is gone, with
-- what came: Chan, Golub and LeVeque (1979) for several samples, of which some count negatively.
-- `is_lost`: the result is so much smaller than what it was made of that its digits are gone.
CREATE TEMPORARY TABLE fold_change ON COMMIT DROP AS
WITH side AS (
    SELECT d.number, s.sign, s.variant_id, s.epoch, s.levels, s.events,
           CASE WHEN s.value > d.cap THEN d.cap ELSE s.value END AS value,
           s.denominator, s.covariate
    FROM fold_old o
    JOIN fold_due d ON d.number = o.number
    LEFT JOIN fold_value n ON n.number = o.number AND n.assignment_id = o.assignment_id
    CROSS JOIN LATERAL (VALUES
        (-1, o.variant_id, o.epoch, o.levels, o.events, o.value, o.denominator, o.covariate),
        (1, n.variant_id, n.epoch, n.levels, n.events, n.value, n.denominator, n.covariate)
    ) s (sign, variant_id, epoch, levels, events, value, denominator, covariate)
    WHERE s.variant_id IS NOT NULL
      AND (o.variant_id, o.epoch, o.levels, o.events, o.value, o.denominator, o.covariate)
          IS DISTINCT FROM
          (n.variant_id, n.epoch, n.levels, n.events, n.value, n.denominator, n.covariate)
), known AS (
    SELECT DISTINCT d.number, s.dimension, s.level
    FROM fold_due d JOIN moment_statistic s USING (experiment_id, metric_id)
    WHERE s.dimension NOT IN ('', 'epoch')
), intake AS (
    SELECT number, variant_id, epoch, sign, {moments}
    FROM side GROUP BY number, variant_id, epoch, sign
), levelled AS (
    SELECT s.number, s.sign, s.variant_id, l.key AS dimension,
           CASE WHEN k.level IS NULL AND o.level IS NOT NULL THEN o.level ELSE l.value END AS level,
           k.level IS NULL AND o.level IS NULL AS is_new,
           s.events, s.value, s.denominator, s.covariate
    FROM side s
    CROSS JOIN LATERAL jsonb_each_text(s.levels) l
    LEFT JOIN known k ON k.number = s.number AND k.dimension = l.key AND k.level = l.value
    LEFT JOIN known o ON o.number = s.number AND o.dimension = l.key AND o.level = '(other)'
    WHERE s.levels IS NOT NULL
), piece AS (
    -- What came in an epoch came in the arm: the same piece, for both.
    SELECT i.number, i.variant_id, k.dimension, k.level, i.sign, false AS is_before,
           false AS is_new, i.assigned, i.events, i.converted, i.n, i.mean, i.m2,
           i.denominator_mean, i.denominator_m2, i.denominator_c2,
           i.covariate_mean, i.covariate_m2, i.covariate_c2
    FROM intake i
    CROSS JOIN LATERAL (VALUES ('', ''), ('epoch', i.epoch::text)) k (dimension, level)
    UNION ALL
    SELECT number, variant_id, dimension, level, sign, false, bool_or(is_new), {moments}
    FROM levelled GROUP BY number, variant_id, dimension, level, sign
    UNION ALL
    SELECT d.number, s.variant_id, s.dimension, s.level, 1, true, false,
           s.assigned, s.events, s.converted, s.n, s.mean, s.m2,
           s.denominator_mean, s.denominator_m2, s.denominator_c2,
           s.covariate_mean, s.covariate_m2, s.covariate_c2
    FROM fold_due d JOIN moment_statistic s USING (experiment_id, metric_id)
    WHERE NOT d.is_whole
), shifted AS (
    -- Differences below 1e-150 have no square that a double can hold.
    SELECT p.*, sign * n AS weight, p.mean - first_value(mean) OVER cell AS x,
           p.denominator_mean - first_value(denominator_mean) OVER cell AS y,
           p.covariate_mean - first_value(covariate_mean) OVER cell AS z
    FROM piece p
    WINDOW cell AS (PARTITION BY number, variant_id, dimension, level
                    ORDER BY n > 0 DESC, is_before DESC)
), centred AS (
    SELECT s.*, sum(weight) OVER cell AS total,
           x - sum(weight * CASE WHEN abs(x) > 1e-150 THEN x ELSE 0 END) OVER cell
               / NULLIF(sum(weight) OVER cell, 0) AS dx,
           y - sum(weight * CASE WHEN abs(y) > 1e-150 THEN y ELSE 0 END) OVER cell
               / NULLIF(sum(weight) OVER cell, 0) AS dy,
           z - sum(weight * CASE WHEN abs(z) > 1e-150 THEN z ELSE 0 END) OVER cell
               / NULLIF(sum(weight) OVER cell, 0) AS dz
    FROM shifted s
    WINDOW cell AS (PARTITION BY number, variant_id, dimension, level)
), safe AS (
    SELECT c.*, CASE WHEN abs(dx) > 1e-150 THEN dx ELSE 0 END AS u,
           CASE WHEN abs(dy) > 1e-150 THEN dy ELSE 0 END AS v,
           CASE WHEN abs(dz) > 1e-150 THEN dz ELSE 0 END AS w
    FROM centred c
), merged AS (
    SELECT number, variant_id, dimension, level, bool_or(is_new) AS is_new,
           sum(sign * assigned)::bigint AS assigned, sum(sign * events)::bigint AS events,
           sum(sign * converted)::bigint AS converted, sum(weight)::bigint AS n,
           min(mean - u) FILTER (WHERE n > 0) AS mean,
           sum(sign * m2 + weight * u * u) AS m2,
           min(denominator_mean - v) FILTER (WHERE n > 0) AS denominator_mean,
           sum(sign * denominator_m2 + weight * v * v) AS denominator_m2,
           sum(sign * denominator_c2 + weight * u * v) AS denominator_c2,
           min(covariate_mean - w) FILTER (WHERE n > 0) AS covariate_mean,
           sum(sign * covariate_m2 + weight * w * w) AS covariate_m2,
           sum(sign * covariate_c2 + weight * u * w) AS covariate_c2,
           sum(m2 + n * abs(u) * greatest(abs(mean), 1e-140)) AS slack,
           sum(denominator_m2 + n * abs(v) * greatest(abs(denominator_mean), 1e-140))
               AS denominator_slack,
           sum(covariate_m2 + n * abs(w) * greatest(abs(covariate_mean), 1e-140))
               AS covariate_slack
    FROM safe GROUP BY number, variant_id, dimension, level
    HAVING NOT bool_and(is_before)
)
SELECT m.*, is_new OR n < 0 OR assigned < n OR n > 0 AND (
           slack > 1e4 * m2 OR denominator_slack > 1e4 * denominator_m2
           OR covariate_slack > 1e4 * covariate_m2
       ) AS is_lost
FROM merged m;

-- name: mark_whole
-- Metrics whose moments are made anew: digits were lost, a level is new, or a day has passed since
-- the levels were ranked.
UPDATE fold_due d SET is_whole = true
WHERE NOT d.is_whole AND (
    EXISTS (SELECT FROM fold_change c WHERE c.number = d.number AND c.is_lost)
    OR (d.folded_at AT TIME ZONE 'UTC')::date < (d.now AT TIME ZONE 'UTC')::date AND EXISTS (
        SELECT FROM moment_statistic s
        WHERE s.experiment_id = d.experiment_id AND s.metric_id = d.metric_id
          AND s.level = '(other)'
    )
);

-- name: drop_all_values
-- The values of metrics that are folded in full.
DELETE FROM unit_value v USING fold_due d
WHERE d.is_full AND v.experiment_id = d.experiment_id AND v.metric_id = d.metric_id;

-- name: drop_gone_values
-- The values of units that do not count any more.
DELETE FROM unit_value v USING fold_old o
WHERE v.ctid = o.place AND NOT EXISTS (
    SELECT FROM fold_value n WHERE n.number = o.number AND n.assignment_id = o.assignment_id
);

-- name: keep_all_values
-- The values of metrics that are folded in full.
INSERT INTO unit_value (
    experiment_id, metric_id, assignment_id, variant_id, epoch, value, denominator, covariate,
    events, levels, matures_at
)
SELECT d.experiment_id, d.metric_id, n.assignment_id, n.variant_id, n.epoch, n.value,
       n.denominator, n.covariate, n.events, n.levels, n.matures_at
FROM fold_due d JOIN fold_value n ON n.number = d.number
WHERE d.is_full
-- Nearly in the order of the key, by a number that is cheap to compare: pages are filled in turn.
ORDER BY n.number * 65536::bigint + get_byte(uuid_send(n.assignment_id), 0) * 256
         + get_byte(uuid_send(n.assignment_id), 1);

-- name: keep_changed_values
-- The values that are not what they were.
UPDATE unit_value v
SET (variant_id, epoch, value, denominator, covariate, events, levels, matures_at)
    = (n.variant_id, n.epoch, n.value, n.denominator, n.covariate, n.events, n.levels, n.matures_at)
FROM fold_old o JOIN fold_value n ON n.number = o.number AND n.assignment_id = o.assignment_id
WHERE v.ctid = o.place
  AND (o.variant_id, o.epoch, o.value, o.denominator, o.covariate, o.events, o.levels, o.matures_at)
      IS DISTINCT FROM
      (n.variant_id, n.epoch, n.value, n.denominator, n.covariate, n.events, n.levels, n.matures_at);

-- name: keep_new_values
-- The values of units that had none.
INSERT INTO unit_value (
    experiment_id, metric_id, assignment_id, variant_id, epoch, value, denominator, covariate,
    events, levels, matures_at
)
SELECT d.experiment_id, d.metric_id, n.assignment_id, n.variant_id, n.epoch, n.value,
       n.denominator, n.covariate, n.events, n.levels, n.matures_at
FROM fold_old o
JOIN fold_due d ON d.number = o.number
JOIN fold_value n ON n.number = o.number AND n.assignment_id = o.assignment_id
WHERE o.place IS NULL;

-- name: freeze_caps
-- The day's caps: a quantile of the values of all arms. Where more than that share are 0, a
-- quantile of the others; 0 would cut everything away.
UPDATE fold_due d
SET cap = c.cap, cap_frozen_on = (d.now AT TIME ZONE 'UTC')::date,
    is_whole = d.is_whole OR d.cap IS DISTINCT FROM c.cap
FROM (
    SELECT d.number, COALESCE(
               NULLIF(percentile_cont(d.cap_quantile) WITHIN GROUP (ORDER BY v.value), 0),
               percentile_cont(d.cap_quantile) WITHIN GROUP (ORDER BY v.value)
                   FILTER (WHERE v.value <> 0)
           ) AS cap
    FROM fold_due d JOIN unit_value v USING (experiment_id, metric_id)
    WHERE d.cap_quantile IS NOT NULL AND NOT d.is_aggregated
      AND d.cap_frozen_on IS DISTINCT FROM (d.now AT TIME ZONE 'UTC')::date
    GROUP BY d.number, d.cap_quantile
) c
WHERE c.number = d.number AND c.cap IS NOT NULL;

-- name: drop_moments
-- The moments that are made anew.
DELETE FROM moment_statistic s USING fold_due d
WHERE s.experiment_id = d.experiment_id AND s.metric_id = d.metric_id
  AND (d.is_whole OR d.is_aggregated);

-- name: count_whole
-- Whether the moments of any metric are made anew: of the values at hand, of those that are kept.
SELECT COALESCE(bool_or(is_full), false) AS is_at_hand,
       COALESCE(bool_or(is_whole AND NOT is_full), false) AS is_kept
FROM fold_due WHERE NOT is_aggregated;

-- name: values_at_hand
-- The values that were just worked out.
fold_value

-- name: folded_in_full
-- The metrics that have all their values at hand.
d.is_full AND NOT d.is_aggregated

-- name: values_kept
-- The values of earlier folds too.
(SELECT d.number, o.* FROM fold_due d JOIN unit_value o USING (experiment_id, metric_id))

-- name: made_anew
-- The metrics whose moments are made of all values that are kept.
d.is_whole AND NOT d.is_full AND NOT d.is_aggregated

-- name: keep_whole_moments
-- Moments of all units' values, about one of them: large numbers keep their variance. Of each
-- dimension the 50 largest levels, and the others as one.
INSERT INTO moment_statistic (
    experiment_id, metric_id, variant_id, dimension, level, assigned, events, converted, n, mean,
    m2, denominator_mean, denominator_m2, denominator_c2, covariate_mean, covariate_m2, covariate_c2
)
WITH middle AS (
    -- Any of an arm's values is near enough to all of them.
    SELECT d.number, v.id AS variant_id, d.cap, true AS is_asked, COALESCE(o.value, 0) AS x,
           COALESCE(o.denominator, 0) AS y, COALESCE(o.covariate, 0) AS z
    FROM fold_due d
    JOIN ab_variants v ON v.experiment_id = d.experiment_id
    LEFT JOIN LATERAL (
        SELECT least(o.value, d.cap) AS value, o.denominator, o.covariate FROM unit_value o
        WHERE o.experiment_id = d.experiment_id AND o.metric_id = d.metric_id
          AND o.variant_id = v.id AND o.value IS NOT NULL
        LIMIT 1
    ) o ON true
    WHERE {asked}
), shifted AS NOT MATERIALIZED (
    -- As an outer join: Postgres must not plan for a few values.
    SELECT number, variant_id, u.epoch, u.levels, u.events,
           CASE WHEN u.value > m.cap THEN m.cap ELSE u.value END - m.x AS value,
           u.denominator - m.y AS denominator, u.covariate - m.z AS covariate
    FROM {values} u LEFT JOIN middle m USING (number, variant_id)
    WHERE COALESCE(m.is_asked, false)
), levelled AS (
    SELECT s.*, l.key AS dimension, l.value AS level
    FROM shifted s CROSS JOIN LATERAL jsonb_each_text(s.levels) l
    WHERE s.levels IS NOT NULL AND EXISTS (SELECT FROM fold_due WHERE dimensions <> '{}')
), ranked AS (
    SELECT number, dimension, level,
           row_number() OVER (PARTITION BY number, dimension ORDER BY count(*) DESC, level) AS rank
    FROM levelled GROUP BY number, dimension, level
), intake AS (
    SELECT number, variant_id, epoch, {moments} FROM shifted GROUP BY number, variant_id, epoch
), arm AS (
    SELECT number, variant_id, count(*) = 1 AS is_one_intake FROM intake GROUP BY number, variant_id
), cell AS (
    -- Most arms have one epoch, whose moments are the arm's.
    SELECT number, variant_id, k.dimension, k.level, i.assigned, i.events, i.converted, i.n, i.mean,
           i.m2, i.denominator_mean, i.denominator_m2, i.denominator_c2, i.covariate_mean,
           i.covariate_m2, i.covariate_c2
    FROM intake i JOIN arm USING (number, variant_id)
    CROSS JOIN LATERAL (VALUES ('epoch', i.epoch::text), ('', '')) k (dimension, level)
    WHERE k.dimension <> '' OR is_one_intake
    UNION ALL
    SELECT number, variant_id, '', '', {moments}
    FROM shifted JOIN arm USING (number, variant_id)
    WHERE NOT is_one_intake
    GROUP BY number, variant_id
    UNION ALL
    SELECT number, variant_id, dimension,
           CASE WHEN rank <= 50 THEN level ELSE '(other)' END AS kept, {moments}
    FROM levelled JOIN ranked USING (number, dimension, level)
    GROUP BY number, variant_id, dimension, kept
)
SELECT d.experiment_id, d.metric_id, c.variant_id, c.dimension, c.level, c.assigned, c.events,
       c.converted, c.n, CASE WHEN c.n > 0 THEN m.x + c.mean ELSE 0 END, c.m2,
       CASE WHEN c.n > 0 THEN m.y + c.denominator_mean ELSE 0 END, c.denominator_m2,
       c.denominator_c2, CASE WHEN c.n > 0 THEN m.z + c.covariate_mean ELSE 0 END,
       c.covariate_m2, c.covariate_c2
FROM cell c JOIN middle m USING (number, variant_id) JOIN fold_due d USING (number);

-- name: keep_changed_moments
-- Moments that were moved by what changed.
INSERT INTO moment_statistic AS old (
    experiment_id, metric_id, variant_id, dimension, level, assigned, events, converted, n, mean,
    m2, denominator_mean, denominator_m2, denominator_c2, covariate_mean, covariate_m2, covariate_c2
)
SELECT d.experiment_id, d.metric_id, c.variant_id, c.dimension, c.level, c.assigned, c.events,
       c.converted, c.n, k.mean, k.m2, k.denominator_mean, k.denominator_m2, k.denominator_c2,
       k.covariate_mean, k.covariate_m2, k.covariate_c2
FROM fold_change c
JOIN fold_due d ON d.number = c.number
CROSS JOIN LATERAL (
    SELECT c.mean, c.m2, c.denominator_mean, c.denominator_m2, c.denominator_c2,
           c.covariate_mean, c.covariate_m2, c.covariate_c2
    WHERE c.n > 0
    UNION ALL
    SELECT 0, 0, 0, 0, 0, 0, 0, 0 WHERE c.n = 0
) k
WHERE NOT d.is_whole
ON CONFLICT (experiment_id, metric_id, variant_id, dimension, level) DO UPDATE
SET (assigned, events, converted, n, mean, m2, denominator_mean, denominator_m2, denominator_c2,
     covariate_mean, covariate_m2, covariate_c2) = (
        excluded.assigned, excluded.events, excluded.converted, excluded.n, excluded.mean,
        excluded.m2, excluded.denominator_mean, excluded.denominator_m2, excluded.denominator_c2,
        excluded.covariate_mean, excluded.covariate_m2, excluded.covariate_c2
    );

-- name: keep_aggregates
-- Statistics that somebody else aggregated, as of the newest moment that all arms have: those that
-- traffic was ever meant for, or that have figures. Who came in which epoch is known only where
-- there was one.
INSERT INTO moment_statistic (
    experiment_id, metric_id, variant_id, dimension, level, assigned, events, converted, n, mean, m2
)
WITH told AS (
    SELECT d.number, a.variant_id, a.observed_at
    FROM fold_due d JOIN aggregate_statistic a USING (experiment_id, metric_id)
    WHERE d.is_aggregated AND a.observed_at <= d.now
), arm AS (
    SELECT number, variant_id FROM told
    UNION
    SELECT d.number, v.id
    FROM fold_due d JOIN ab_variants v USING (experiment_id)
    LEFT JOIN allocation_weight w ON w.variant_id = v.id
    GROUP BY d.number, v.id
    HAVING COALESCE(max(w.weight), 1) > 0
), moment AS (
    SELECT number, max(observed_at) AS observed_at
    FROM (
        SELECT t.number, t.observed_at FROM told t
        GROUP BY t.number, t.observed_at
        HAVING count(*) = (SELECT count(*) FROM arm a WHERE a.number = t.number)
    ) whole
    GROUP BY number
)
SELECT d.experiment_id, d.metric_id, a.variant_id, c.dimension, c.level, a.assigned, s.converted,
       s.converted, a.n, a.mean, a.m2
FROM moment m
JOIN fold_due d USING (number)
JOIN aggregate_statistic a USING (experiment_id, metric_id, observed_at)
CROSS JOIN LATERAL (
    SELECT CASE WHEN d.kind IN ('proportion', 'retention') THEN round(a.n * a.mean)::bigint
                ELSE 0 END AS converted
) s
CROSS JOIN LATERAL (
    SELECT '' AS dimension, '' AS level
    UNION ALL
    SELECT 'epoch', min(l.epoch)::text FROM allocation l
    WHERE l.experiment_id = d.experiment_id HAVING count(*) = 1
) c;

-- name: keep_empty_arms
-- Every arm has its row, also one that nobody came to.
INSERT INTO moment_statistic (
    experiment_id, metric_id, variant_id, assigned, events, converted, n, mean, m2
)
SELECT d.experiment_id, d.metric_id, v.id, 0, 0, 0, 0, 0, 0
FROM fold_due d JOIN ab_variants v ON v.experiment_id = d.experiment_id
ON CONFLICT (experiment_id, metric_id, variant_id, dimension, level) DO NOTHING;

-- name: keep_state
-- How far the folding has come.
INSERT INTO fold_state AS old (
    experiment_id, metric_id, folded_at, definition, cap, cap_frozen_on
)
SELECT experiment_id, metric_id, now, definition, cap, cap_frozen_on FROM fold_due
ON CONFLICT (experiment_id, metric_id) DO UPDATE
SET (folded_at, definition, cap, cap_frozen_on)
    = (excluded.folded_at, excluded.definition, excluded.cap, excluded.cap_frozen_on);

-- name: summarize
-- What was done, one row an experiment. Of all units' values only those are read that leave
-- something out: how many there are, the moments know.
SELECT d.experiment_id::text AS experiment_id, count(*) AS metrics,
       bool_or(d.is_full) AS is_full, COALESCE(sum(v.units), 0)::bigint AS units,
       COALESCE(sum(l.left_out), 0)::bigint AS left_out
FROM fold_due d
LEFT JOIN (
    SELECT d.number, sum(s.assigned) AS units
    FROM fold_due d JOIN moment_statistic s USING (experiment_id, metric_id)
    WHERE d.is_full AND NOT d.is_aggregated AND s.dimension = ''
    GROUP BY d.number
    UNION ALL
    SELECT o.number, count(*)
    FROM fold_old o JOIN fold_value n ON n.number = o.number AND n.assignment_id = o.assignment_id
    GROUP BY o.number
) v USING (number)
LEFT JOIN (
    SELECT number, sum(left_out) AS left_out FROM fold_value WHERE left_out > 0 GROUP BY number
) l USING (number)
GROUP BY d.experiment_id ORDER BY d.experiment_id;
