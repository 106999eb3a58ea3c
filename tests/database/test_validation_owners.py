"""Rows that break a rule are known by their owners, so that one experiment stops no other."""

from __future__ import annotations

from sqlalchemy import Engine

from tests.database.test_validation import (
    CONTROL,
    ELSEWHERE,
    EXPERIMENT,
    OTHER,
    ROWS,
    SMALL,
    SUITES,
    change,
    validate,
)

BREAK = f"""
UPDATE ab_experiments SET status = 'active', started_at = now(), winner_variant = 'nobody'
WHERE id = '{OTHER}';
UPDATE ab_variants SET conversions = 5 WHERE id = '{SMALL}';
ALTER TABLE ab_assignments DROP CONSTRAINT uq_ab_assignments_experiment_id_user_id;
INSERT INTO ab_assignments (experiment_id, variant_id, user_id, bucket_value)
VALUES ('{OTHER}', '{ELSEWHERE}', ' ', 2), ('{OTHER}', '{ELSEWHERE}', ' ', 0.5);
UPDATE ab_assignments SET user_id = ' ';
UPDATE ab_metrics SET variant_id = '{CONTROL}';
"""
OWNERS = {
    "ab_experiments: the winner is one of the experiment's variants": (OTHER,),
    "ab_variants: the weights of an experiment sum to 1": (OTHER,),
    "ab_variants: an experiment has one control": (OTHER,),
    "ab_variants: an experiment compares at least two variants": (OTHER,),
    "ab_variants: only units that took part can convert": (EXPERIMENT,),
    # The library has no query that finds these rows, so nobody can be told apart.
    "ab_assignments: a unit sees one variant of an experiment": None,
    "ab_assignments: a unit has an id": (EXPERIMENT, OTHER),
    "ab_assignments: a bucket lies in [0, 1)": (OTHER,),
    "ab_metrics: an event counts for the variant that its unit was given": (EXPERIMENT,),
}


def test_unexpected_rows_are_known_by_whose_they_are(database: Engine) -> None:
    change(database, ROWS + BREAK)
    problems = {
        f"{summary.table}: {problem.reason}": problem.owners
        for summary in validate(database, *SUITES)
        for problem in summary.problems
    }
    assert problems == OWNERS
