"""Two sound experiments for tests of the quality gate, in rows."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

EXPERIMENT = UUID("00000000-0000-0000-0000-0000000000e1")
OTHER = UUID("00000000-0000-0000-0000-0000000000e2")
_ARMS = {
    EXPERIMENT: ("00000000-0000-0000-0000-0000000000c1", "00000000-0000-0000-0000-0000000000c2"),
    OTHER: ("00000000-0000-0000-0000-0000000000d1", "00000000-0000-0000-0000-0000000000d2"),
}
CONTROL, RED = _ARMS[EXPERIMENT]
SPEND = "00000000-0000-0000-0000-0000000000a1"
CRASH = "00000000-0000-0000-0000-0000000000a2"
UNITS = 200  # of each arm

_METRICS = f"""
INSERT INTO metric (id, name, kind, event_type, aggregation, missing, covariate_days) VALUES
    ('{SPEND}', 'spend', 'mean', 'buy', 'sum', 'exclude', 14),
    ('{CRASH}', 'crashes', 'proportion', 'crash', 'any', 'zero', NULL);
"""


def build(connection: Connection) -> None:
    """Two active experiments, started ten days ago: 200 units an arm, an event of each metric."""
    connection.exec_driver_sql(_METRICS)
    for experiment, name in ((EXPERIMENT, "buttons"), (OTHER, "prices")):
        connection.exec_driver_sql(_experiment(str(experiment), name, _ARMS[experiment]))
    refold(connection)


def _experiment(experiment: str, name: str, arms: tuple[str, str]) -> str:
    control, red = arms
    return f"""
INSERT INTO ab_experiments (id, experiment_name, status, started_at)
VALUES ('{experiment}', '{name}', 'active', headway.clock_now() - interval '10 days');
INSERT INTO ab_variants (id, experiment_id, variant_name, is_control, traffic_weight) VALUES
    ('{control}', '{experiment}', 'control', true, 0.5),
    ('{red}', '{experiment}', 'red', false, 0.5);
INSERT INTO experiment_plan (experiment_id, dimensions) VALUES ('{experiment}', '{{country}}');
INSERT INTO allocation (experiment_id, epoch, started_at)
VALUES ('{experiment}', 1, headway.clock_now() - interval '10 days');
INSERT INTO allocation_weight (experiment_id, epoch, variant_id, weight)
VALUES ('{experiment}', 1, '{control}', 0.5), ('{experiment}', 1, '{red}', 0.5);
INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size) VALUES
    ('{experiment}', '{SPEND}', 'primary', 1000), ('{experiment}', '{CRASH}', 'guardrail', 1000);
INSERT INTO ab_assignments
    (experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch, metadata)
SELECT '{experiment}', v.id, v.variant_name || '-' || u,
       headway.clock_now() - interval '5 days', 0.5, 1,
       jsonb_build_object('country', CASE WHEN mod(u, 4) = 0 THEN 'fr' ELSE 'de' END)
FROM ab_variants v, generate_series(1, {UNITS}) u WHERE v.experiment_id = '{experiment}';
INSERT INTO ab_metrics (experiment_id, variant_id, assignment_id, event_type, event_value,
                        event_timestamp, created_at, event_id)
SELECT a.experiment_id, a.variant_id, a.id, t.event_type, 10,
       headway.clock_now() - interval '2 hours' + random() * interval '1 hour',
       headway.clock_now() - interval '1 hour', t.event_type || a.user_id
FROM ab_assignments a, (VALUES ('buy'), ('crash')) t (event_type)
WHERE a.experiment_id = '{experiment}';
"""


_FOLD = """
DELETE FROM moment_statistic;
INSERT INTO moment_statistic (experiment_id, metric_id, variant_id, dimension, level, assigned,
                              events, converted, n, mean, m2, covariate_mean, covariate_m2)
SELECT em.experiment_id, em.metric_id, v.id, d.dimension, d.level, count(a.id),
       COALESCE(sum(e.events), 0), count(*) FILTER (WHERE e.events > 0),
       CASE m.missing WHEN 'zero' THEN count(a.id) ELSE count(*) FILTER (WHERE e.events > 0) END,
       10, 0, 5, 0.5 * count(a.id)
FROM experiment_metric em
JOIN metric m ON m.id = em.metric_id
JOIN ab_variants v ON v.experiment_id = em.experiment_id
LEFT JOIN ab_assignments a ON a.variant_id = v.id AND NOT a.is_override
CROSS JOIN LATERAL (VALUES ('', ''), ('epoch', COALESCE(a.epoch, 1)::text),
                           ('country', COALESCE(a.metadata ->> 'country', ''))
) d (dimension, level)
LEFT JOIN LATERAL (
    SELECT count(*) AS events FROM ab_metrics x
    WHERE x.assignment_id = a.id AND x.event_type = m.event_type
) e ON true
GROUP BY em.experiment_id, em.metric_id, v.id, m.missing, d.dimension, d.level
"""


def refold(connection: Connection) -> None:
    """Sufficient statistics of what is there, by plain counting."""
    connection.exec_driver_sql(_FOLD)


def change(connection: Connection, sql: str) -> None:
    """Run the statements, and fold anew."""
    if sql:
        connection.exec_driver_sql(sql)
    refold(connection)
