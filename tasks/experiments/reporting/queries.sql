-- name: experiments_status
-- Every experiment with where it stands; the newest first.
SELECT e.experiment_name AS name, e.status::text AS status, e.winner_variant AS winner,
       e.statistical_significance AS significance, COALESCE(looks.count, 0) AS looks,
       d.verdict AS last_verdict, d.decided_at AS last_look_at
FROM ab_experiments e
LEFT JOIN LATERAL (
    SELECT count(DISTINCT vm.look_number) AS count, max(vm.decision_id) AS decision_id
    FROM variant_metric vm WHERE vm.experiment_id = e.id
) looks ON true
LEFT JOIN headway.decision d ON d.id = looks.decision_id
ORDER BY e.created_at DESC, e.experiment_name;

-- name: latest_decision
-- The last look at an experiment, as it was decided.
SELECT e.id, e.status::text AS status, m.id AS metric_id, m.name AS metric, m.kind,
       d.id AS decision_id, d.verdict, d.reasons, d.details
FROM ab_experiments e
LEFT JOIN experiment_metric em ON em.experiment_id = e.id AND em.role = 'primary'
LEFT JOIN metric m ON m.id = em.metric_id
LEFT JOIN LATERAL (
    SELECT max(vm.decision_id) AS id FROM variant_metric vm WHERE vm.experiment_id = e.id
) latest ON true
LEFT JOIN headway.decision d ON d.id = latest.id
WHERE e.experiment_name = :name;

-- name: dashboard
-- Every experiment with its plan, its arms, how far it is and what its last look said; those that
-- run come first. The sample is what was folded since; the verdict is the stored one.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, p.organization, e.started_at,
       e.completed_at, p.starts_at, p.ends_at, e.winner_variant AS winner,
       COALESCE(p.minimum_weeks, 0) AS minimum_weeks, COALESCE(p.method, 'none') AS method,
       COALESCE(p.policy, 'select') AS policy, em.name AS metric, em.kind, em.planned_sample_size,
       COALESCE(folded.n, looked.n, 0)::bigint AS n,
       COALESCE(folded.assigned, looked.assigned, 0)::bigint AS assigned,
       v.arms, v.split, d.id AS decision_id, d.decided_at, d.rule_version, d.verdict, d.reasons,
       d.details, headway.clock_now() AS now
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN (
    SELECT em.experiment_id, em.metric_id, em.planned_sample_size, m.name, m.kind
    FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
    WHERE em.role = 'primary'
) em ON em.experiment_id = e.id
LEFT JOIN LATERAL (
    SELECT sum(ms.n) AS n, sum(ms.assigned) AS assigned
    FROM moment_statistic ms
    WHERE ms.experiment_id = e.id AND ms.metric_id = em.metric_id AND ms.dimension = ''
) folded ON true
LEFT JOIN LATERAL (
    SELECT vm.decision_id, sum(vm.n) AS n, sum(vm.assigned_count) AS assigned
    FROM variant_metric vm
    WHERE vm.experiment_id = e.id AND vm.metric_id = em.metric_id
    GROUP BY vm.look_number, vm.decision_id
    ORDER BY vm.look_number DESC
    LIMIT 1
) looked ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS arms,
           jsonb_object_agg(v.variant_name, v.traffic_weight) AS split
    FROM ab_variants v WHERE v.experiment_id = e.id
) v ON true
LEFT JOIN LATERAL (
    SELECT * FROM headway.decision
    WHERE subject = 'experiment:' || e.experiment_name AND rule = 'experiment-winner'
    ORDER BY id DESC
    LIMIT 1
) d ON true
ORDER BY array_position(
             ARRAY['active', 'paused', 'draft', 'completed', 'archived'], e.status::text
         ), e.created_at DESC, e.experiment_name;

-- name: reported_experiments
-- What a report is due of: the experiments that run, and those that ended within the last day.
SELECT e.experiment_name
FROM ab_experiments e
WHERE e.status IN ('active', 'paused')
   OR e.completed_at > headway.clock_now() - interval '1 day'
ORDER BY e.experiment_name;

-- name: report_head
-- One experiment: what was planned, its arms, its metrics and every split of its traffic.
SELECT e.id, e.experiment_name AS name, e.status::text AS status, e.description, e.hypothesis,
       e.target_bot, e.minimum_sample_size, e.started_at, e.completed_at,
       e.winner_variant AS winner, to_jsonb(p) - 'experiment_id' AS plan,
       (SELECT jsonb_agg(jsonb_build_object(
                   'name', v.variant_name, 'label', v.variant_label, 'weight', v.traffic_weight,
                   'is_control', v.is_control, 'model_version', v.model_version,
                   'config_overrides', v.config_overrides, 'description', v.description,
                   'response_template', v.response_template, 'system_prompt', v.system_prompt,
                   'units', v.impressions,
                   'conversions', CASE WHEN c.is_known THEN v.conversions END,
                   'conversion_rate', CASE WHEN c.is_known THEN v.conversion_rate END,
                   'total_value', v.total_value,
                   'lower', v.confidence_interval_lower, 'upper', v.confidence_interval_upper
               ) ORDER BY v.is_control DESC, v.variant_name)
        FROM ab_variants v WHERE v.experiment_id = e.id) AS variants,
       (SELECT jsonb_agg(jsonb_build_object(
                   'name', m.name, 'role', em.role, 'kind', m.kind, 'event_type', m.event_type,
                   'aggregation', m.aggregation, 'is_higher_better', m.is_higher_better,
                   'margin', em.margin, 'alpha', em.alpha,
                   'planned_sample_size', em.planned_sample_size, 'folded_at', f.folded_at,
                   'recomputed_at', f.recomputed_at, 'recomputed_gap', f.recomputed_gap
               ) ORDER BY array_position(ARRAY['primary', 'secondary', 'guardrail'],
                                         em.role::text), m.name)
        FROM experiment_metric em
        JOIN metric m ON m.id = em.metric_id
        LEFT JOIN fold_state f ON (f.experiment_id, f.metric_id) = (em.experiment_id, em.metric_id)
        WHERE em.experiment_id = e.id) AS metrics,
       (SELECT jsonb_agg(jsonb_build_object(
                   'epoch', a.epoch, 'started_at', a.started_at, 'actor', a.actor,
                   'reason', a.reason, 'split', (
                       SELECT jsonb_object_agg(v.variant_name, w.weight)
                       FROM allocation_weight w JOIN ab_variants v ON v.id = w.variant_id
                       WHERE (w.experiment_id, w.epoch) = (a.experiment_id, a.epoch)
                   )) ORDER BY a.epoch)
        FROM allocation a WHERE a.experiment_id = e.id) AS epochs,
       headway.clock_now() AS now
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
CROSS JOIN LATERAL (
    -- Where somebody else aggregated a mean, how many units converted was never said.
    SELECT NOT EXISTS (
        SELECT FROM experiment_metric em
        JOIN metric m ON m.id = em.metric_id
        JOIN aggregate_statistic a
          ON (a.experiment_id, a.metric_id) = (em.experiment_id, em.metric_id)
        WHERE em.experiment_id = e.id AND em.role = 'primary'
          AND m.kind NOT IN ('proportion', 'retention')
    ) OR EXISTS (
        SELECT FROM ab_assignments a WHERE a.experiment_id = e.id AND NOT a.is_override
    ) AS is_known
) c
WHERE e.experiment_name = :name;

-- name: last_look
-- What the last look at an experiment decided.
SELECT id AS decision_id, decided_at, rule_version, verdict, reasons, details
FROM headway.decision
WHERE subject = 'experiment:' || CAST(:name AS text) AND rule = 'experiment-winner'
ORDER BY id DESC
LIMIT 1;

-- name: every_look
-- Each arm of the primary metric at each look, as it was decided then.
SELECT seen.look_number AS number, seen.information_fraction AS fraction, seen.computed_at AS at,
       seen.is_usable, seen.decision_id, arm.name AS arm, arm.n, arm.difference, arm.lower,
       arm.upper, arm.sequential_lower, arm.sequential_upper, arm.lift, arm.p_value,
       arm.adjusted_p_value, arm.z, arm.bound, COALESCE(arm.outcome, 'open') AS outcome
FROM (
    SELECT DISTINCT vm.look_number, vm.information_fraction, vm.computed_at, vm.is_usable,
                    vm.decision_id
    FROM variant_metric vm
    JOIN experiment_metric em USING (experiment_id, metric_id)
    WHERE vm.experiment_id = :experiment_id AND em.role = 'primary'
) seen
JOIN headway.decision d ON d.id = seen.decision_id
CROSS JOIN LATERAL jsonb_to_recordset(d.details -> 'arms') AS arm(
    name text, n bigint, difference double precision, lower double precision,
    upper double precision, sequential_lower double precision, sequential_upper double precision,
    lift double precision, p_value double precision, adjusted_p_value double precision,
    z double precision, bound double precision, outcome text
)
ORDER BY seen.look_number, arm.name;

-- name: is_experiment
-- Is there an experiment of that name?
SELECT EXISTS (SELECT FROM ab_experiments WHERE experiment_name = :name);

-- name: read_clock
-- The time of the database.
SELECT headway.clock_now();
