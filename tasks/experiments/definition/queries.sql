-- name: insert_experiment
-- A new experiment, a draft; nothing where the name is taken.
INSERT INTO ab_experiments (
    experiment_name, description, hypothesis, target_bot, metric_type, minimum_sample_size, status,
    default_traffic_split, created_at, updated_at, created_by
) VALUES (
    :name, :description, :hypothesis, :target_bot, :metric_type, :minimum_sample_size, 'draft',
    CAST(:split AS jsonb), headway.clock_now(), headway.clock_now(), :actor
) ON CONFLICT (experiment_name) DO NOTHING
RETURNING id;

-- name: insert_plan
-- What the experiment's own table has no column for.
INSERT INTO experiment_plan (
    experiment_id, method, method_options, policy, power, minimum_effect, minimum_weeks,
    reserved_alpha, tie_break_metric, organization, traffic_fraction, target_rules, dimensions,
    starts_at, ends_at, bandit, factors, generators, is_holdout, segment_of
) VALUES (
    :experiment_id, :method, CAST(:method_options AS jsonb), :policy, :power, :minimum_effect,
    :minimum_weeks, :reserved_alpha, :tie_break_metric, :organization, :traffic_fraction,
    CAST(:target_rules AS jsonb), CAST(:dimensions AS text[]), :starts_at, :ends_at,
    CAST(:bandit AS jsonb), CAST(:factors AS jsonb), CAST(:generators AS text[]), :is_holdout,
    :segment_of
);

-- name: insert_variants
-- The arms of a new experiment.
INSERT INTO ab_variants (
    experiment_id, variant_name, variant_label, description, response_template, system_prompt,
    config_overrides, traffic_weight, is_control, model_version, created_at, updated_at
)
SELECT :experiment_id, arm.name, arm.label, arm.description, arm.response_template,
       arm.system_prompt, arm.config_overrides, arm.weight, arm.is_control, arm.model_version,
       headway.clock_now(), headway.clock_now()
FROM jsonb_to_recordset(CAST(:variants AS jsonb)) AS arm(
    name text, label text, description text, response_template text, system_prompt text,
    config_overrides jsonb, weight double precision, is_control boolean, model_version text
);

-- name: insert_levels
-- Which level of each factor the arms of a multivariate design have.
INSERT INTO variant_level (variant_id, factor, level)
SELECT v.id, told.factor, told.level
FROM jsonb_to_recordset(CAST(:levels AS jsonb)) AS told(variant text, factor text, level text)
JOIN ab_variants v ON v.experiment_id = :experiment_id AND v.variant_name = told.variant;

-- name: insert_metrics
-- The metrics that nobody has described before.
INSERT INTO metric (
    name, description, kind, event_type, aggregation, missing, is_higher_better,
    window_start_hours, window_hours, cap_quantile, covariate_days, covariate_attribute,
    quantile, denominator_event_type, denominator_aggregation, created_at
)
SELECT name, description, kind, event_type, aggregation, missing, is_higher_better,
       window_start_hours, window_hours, cap_quantile, covariate_days, covariate_attribute,
       quantile, denominator_event_type, denominator_aggregation, headway.clock_now()
FROM jsonb_to_recordset(CAST(:metrics AS jsonb)) AS described(
    name text, description text, kind text, event_type text, aggregation metric_aggregation,
    missing metric_missing, is_higher_better boolean, window_start_hours double precision,
    window_hours double precision, cap_quantile double precision, covariate_days integer,
    covariate_attribute text, quantile double precision, denominator_event_type text,
    denominator_aggregation metric_aggregation
)
ON CONFLICT (name) DO NOTHING;

-- name: insert_experiment_metrics
-- Which metric has which role, and how much error it may cost.
INSERT INTO experiment_metric (
    experiment_id, metric_id, role, planned_sample_size, alpha, is_stopped_at_winner, margin,
    created_at
)
SELECT :experiment_id, metric.id, used.role, :planned_sample_size, used.alpha,
       :is_stopped_at_winner, used.margin, headway.clock_now()
FROM jsonb_to_recordset(CAST(:used AS jsonb)) AS used(
    name text, role metric_role, alpha double precision, margin double precision
)
JOIN metric ON metric.name = used.name;

-- name: find_metrics
-- Metrics by name, as a plan describes them.
SELECT m.name, to_jsonb(m) - 'id' - 'created_at' AS described
FROM metric m WHERE m.name = ANY(CAST(:names AS text[]));

-- name: find_experiment
-- An experiment by name with its plan and its newest split.
SELECT e.id, e.experiment_name AS name, e.status::text AS status,
       COALESCE(p.version, 1) AS version, e.metric_type, e.created_by, e.created_at, e.started_at,
       e.completed_at, e.winner_variant AS winner,
       (to_jsonb(p) - 'experiment_id' - 'version') || jsonb_build_object(
           'name', e.experiment_name, 'description', e.description, 'hypothesis', e.hypothesis,
           'target_bot', e.target_bot, 'minimum_sample_size', e.minimum_sample_size,
           'factors', COALESCE(p.factors, '[]'), 'layer', s.layer,
           'layer_share', s.upper_bound - s.lower_bound
       ) AS described,
       (SELECT jsonb_agg(jsonb_build_object(
                   'name', v.variant_name, 'label', v.variant_label,
                   'description', v.description, 'response_template', v.response_template,
                   'system_prompt', v.system_prompt, 'config_overrides', v.config_overrides,
                   'weight', v.traffic_weight, 'is_control', v.is_control,
                   'model_version', v.model_version
               ) ORDER BY v.is_control DESC, v.variant_name)
        FROM ab_variants v WHERE v.experiment_id = e.id) AS variants,
       (SELECT jsonb_agg(jsonb_build_object(
                   'role', em.role, 'planned_sample_size', em.planned_sample_size,
                   'alpha', em.alpha, 'is_stopped_at_winner', em.is_stopped_at_winner,
                   'margin', em.margin, 'metric', to_jsonb(m) - 'id' - 'created_at'
               ) ORDER BY m.name)
        FROM experiment_metric em JOIN metric m ON m.id = em.metric_id
        WHERE em.experiment_id = e.id) AS metrics
FROM ab_experiments e
LEFT JOIN experiment_plan p ON p.experiment_id = e.id
LEFT JOIN layer_slot s ON s.experiment_id = e.id
WHERE e.experiment_name = :name;

-- name: lock_definition
-- One change of an experiment at a time; rows that refer to it can be added meanwhile.
SELECT id FROM ab_experiments WHERE experiment_name = :name FOR NO KEY UPDATE;

-- name: changes
-- What was done to an experiment, the newest first.
SELECT decided_at AS changed_at, inputs ->> 'action' AS action, details -> 'changed' AS changed,
       actor, reason
FROM headway.decision
WHERE subject = :subject AND rule = 'experiment-change'
ORDER BY id DESC;

-- name: cut_out
-- The experiments that were cut out of one, for a segment of its units.
SELECT e.experiment_name
FROM experiment_plan p JOIN ab_experiments e ON e.id = p.experiment_id
WHERE p.segment_of = :name
ORDER BY e.experiment_name;

-- name: end_that_passed
-- The planned end of an experiment, where it is not to come any more.
SELECT ends_at FROM experiment_plan
WHERE experiment_id = :experiment_id AND ends_at <= headway.clock_now();

-- name: start_experiment
-- A draft becomes active.
UPDATE ab_experiments
SET status = 'active', started_at = headway.clock_now(), updated_at = headway.clock_now()
WHERE id = :experiment_id;

-- name: move_experiment
-- Another state of its life; when it ended is kept.
UPDATE ab_experiments
SET status = CAST(CAST(:status AS text) AS experiment_status),
    completed_at = CASE WHEN CAST(:status AS text) = 'completed' THEN headway.clock_now()
                        ELSE completed_at END,
    updated_at = headway.clock_now()
WHERE id = :experiment_id;

-- name: delete_experiment
-- A draft that nobody took part in, with all that hangs on it.
DELETE FROM ab_experiments WHERE id = :experiment_id;

-- name: count_version
-- One change more.
UPDATE experiment_plan SET version = version + 1
WHERE experiment_id = :experiment_id RETURNING version;

-- name: experiment_exists
-- Is the name taken?
SELECT EXISTS (SELECT FROM ab_experiments WHERE experiment_name = :name);

-- name: experiment_names
-- Every experiment, to find the one that was meant.
SELECT experiment_name FROM ab_experiments ORDER BY experiment_name;

-- name: has_assignments
-- Did anybody take part?
SELECT EXISTS (SELECT FROM ab_assignments WHERE experiment_id = :experiment_id);

-- name: edit_experiment
-- What may be said anew of an experiment, in its own table.
UPDATE ab_experiments
SET description = :description, hypothesis = :hypothesis, target_bot = :target_bot,
    metric_type = :metric_type, minimum_sample_size = :minimum_sample_size,
    updated_at = headway.clock_now()
WHERE id = :experiment_id;

-- name: edit_plan
-- And in its plan.
UPDATE experiment_plan
SET method = :method, method_options = CAST(:method_options AS jsonb), policy = :policy,
    power = :power, minimum_effect = :minimum_effect, minimum_weeks = :minimum_weeks,
    reserved_alpha = :reserved_alpha, tie_break_metric = :tie_break_metric,
    organization = :organization, traffic_fraction = :traffic_fraction,
    target_rules = CAST(:target_rules AS jsonb), dimensions = CAST(:dimensions AS text[]),
    starts_at = :starts_at, ends_at = :ends_at, bandit = CAST(:bandit AS jsonb),
    factors = CAST(:factors AS jsonb), generators = CAST(:generators AS text[]),
    is_holdout = :is_holdout, segment_of = :segment_of
WHERE experiment_id = :experiment_id;

-- name: edit_labels
-- What people call the arms.
UPDATE ab_variants
SET variant_label = arm.label, updated_at = headway.clock_now()
FROM jsonb_to_recordset(CAST(:variants AS jsonb)) AS arm(name text, label text)
WHERE experiment_id = :experiment_id AND variant_name = arm.name
  AND variant_label IS DISTINCT FROM arm.label;

-- name: clear_roles
-- The metrics of a draft, before they are written anew.
DELETE FROM experiment_metric WHERE experiment_id = :experiment_id;

-- name: clear_variants
-- The arms of a draft, before they are written anew.
DELETE FROM ab_variants WHERE experiment_id = :experiment_id;

-- name: set_split
-- The split that a draft is to start with.
UPDATE ab_experiments SET default_traffic_split = CAST(:split AS jsonb) WHERE id = :experiment_id;

-- name: drop_unused_metrics
-- Metrics that only this draft described: it may describe them otherwise.
DELETE FROM metric m
WHERE m.name = ANY(CAST(:names AS text[]))
  AND NOT EXISTS (SELECT FROM experiment_metric em WHERE em.metric_id = m.id);

-- name: due_changes
-- What the calendar asks for now. What has ended gets one more look before it is completed.
SELECT e.experiment_name AS name, due.action
FROM ab_experiments e
JOIN experiment_plan p ON p.experiment_id = e.id
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN e.status = 'draft' AND p.starts_at <= headway.clock_now()
             AND (p.ends_at IS NULL OR p.ends_at > headway.clock_now()) THEN 'start'
        WHEN e.status IN ('active', 'paused') AND p.ends_at <= headway.clock_now()
             AND (p.ends_at <= headway.clock_now() - interval '1 hour' OR EXISTS (
                 SELECT FROM variant_metric vm
                 WHERE vm.experiment_id = e.id AND vm.computed_at >= p.ends_at
             )) THEN 'complete'
    END AS action
) due
WHERE due.action IS NOT NULL
ORDER BY e.experiment_name;

-- name: rollouts_of
-- The rollouts of an experiment's arms, each with the last thing that was done to it.
SELECT r.name AS rollout, r.variant, r.model_version, r.state::text AS state, r.percentage,
       history.highest_percentage, last.changed_at, last.actor, last.reason
FROM ab_experiments e
JOIN rollout r ON r.experiment_id = e.id
CROSS JOIN LATERAL (
    SELECT changed_at, actor, reason FROM rollout_change
    WHERE rollout_id = r.id AND cause <> 'noop' ORDER BY id DESC LIMIT 1
) last
CROSS JOIN LATERAL (
    SELECT max(new_percentage) AS highest_percentage FROM rollout_change WHERE rollout_id = r.id
) history
WHERE e.experiment_name = :name
ORDER BY r.id DESC;
