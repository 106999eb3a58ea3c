"""Experiments whose units have values of any distribution, in rows."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import Connection, text

_EXPERIMENT = """
INSERT INTO ab_experiments (id, experiment_name, status, started_at)
VALUES (:experiment, :name, 'active', headway.clock_now() - interval '10 days');
INSERT INTO experiment_plan (experiment_id, method, policy)
VALUES (:experiment, :method, 'select');
INSERT INTO ab_variants (id, experiment_id, variant_name, is_control, traffic_weight) VALUES
    (:control, :experiment, 'control', true, 1 - :share),
    (gen_random_uuid(), :experiment, 'red', false, :share);
INSERT INTO metric (id, name, kind, event_type, aggregation, missing, denominator_event_type,
                    covariate_days, quantile)
VALUES (:metric, :name || '-metric', :kind, 'buy',
        CAST(CASE WHEN :kind = 'proportion' THEN 'any' ELSE 'sum' END AS metric_aggregation),
        'zero', :denominator, :covariate_days, :quantile);
INSERT INTO experiment_metric (experiment_id, metric_id, role, planned_sample_size)
VALUES (:experiment, :metric, 'primary', 1000000);
INSERT INTO ab_assignments
    (experiment_id, variant_id, user_id, assigned_at, bucket_value, epoch, metadata)
SELECT :experiment, :control, 'u' || u, headway.clock_now() - interval '9 days'
       + u * interval '1 millisecond', 0.5, 1, '{}'
FROM generate_series(1, :units) u;
"""

_VALUES = """
INSERT INTO unit_value (experiment_id, metric_id, assignment_id, variant_id, epoch, value,
                        denominator, covariate)
SELECT :experiment, :metric, a.id, :control, 1, x.value, {denominator}, {covariate}
FROM ab_assignments a
CROSS JOIN LATERAL (
    SELECT {value} AS value, CAST(substr(a.user_id, 2) AS integer) AS u WHERE a.id IS NOT NULL
) x
WHERE a.experiment_id = :experiment;
"""

_MOMENTS = """
INSERT INTO moment_statistic (experiment_id, metric_id, variant_id, dimension, level, assigned,
                              events, converted, n, mean, m2)
SELECT :experiment, :metric, :control, '', '', count(*), count(*), 0, count(value),
       COALESCE(avg(value), 0), COALESCE(var_pop(value) * count(value), 0)
FROM unit_value WHERE experiment_id = :experiment;
"""


def build(
    connection: Connection,
    units: int,
    value: str,
    *,
    name: str = "buttons",
    kind: str = "mean",
    share: float = 0.5,
    method: str = "group_sequential",
    denominator: str | None = None,
    covariate: str | None = None,
    quantile: float | None = None,
) -> tuple[UUID, UUID]:
    """An active experiment whose control has so many units, with values by an SQL expression.

    Expressions may use ``u``, the unit's number, and ``random()``; those of denominator and
    covariate also ``x.value``. Returns the ids of experiment and metric.
    """
    experiment, metric, control = uuid4(), uuid4(), uuid4()
    asked = {
        "experiment": experiment,
        "metric": metric,
        "control": control,
        "name": name,
        "kind": kind,
        "share": share,
        "method": method,
        "units": units,
        "denominator": "visit" if denominator else None,
        "covariate_days": 7 if covariate else None,
        "quantile": quantile,
    }
    values = _VALUES.format(
        value=value, denominator=denominator or "NULL", covariate=covariate or "NULL"
    )
    for statement in (*_EXPERIMENT.split(";\n"), values, _MOMENTS):
        if statement.strip():
            connection.execute(text(statement), asked)
    return experiment, metric
