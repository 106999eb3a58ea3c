"""The schema as revision 001 promises it, and as all revisions together leave it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy import Engine, text

from tasks import schema
from tasks.migrations.validation import alembic_config, check
from tests.database.migrations import ALL

COLUMNS = {
    "ab_experiments": (
        "id, experiment_name, description, hypothesis, target_bot, metric_type, "
        "minimum_sample_size, status, started_at, completed_at, default_traffic_split, "
        "winner_variant, statistical_significance, created_at, updated_at, created_by"
    ),
    "ab_variants": (
        "id, experiment_id, variant_name, variant_label, description, response_template, "
        "system_prompt, config_overrides, traffic_weight, impressions, conversions, "
        "conversion_rate, total_value, confidence_interval_lower, confidence_interval_upper, "
        "is_control, created_at, updated_at"
    ),
    "ab_assignments": (
        "id, experiment_id, variant_id, user_id, session_id, assigned_at, bucket_value, "
        "has_converted, converted_at, metadata"
    ),
    "ab_metrics": (
        "id, experiment_id, variant_id, assignment_id, event_type, event_value, event_data, "
        "event_timestamp, source, session_context, created_at"
    ),
}
INDEXES = {
    "ab_experiments": {
        "idx_experiment_name": ["experiment_name"],
        "idx_experiment_status": ["status"],
        "idx_experiment_target_bot": ["target_bot"],
        "idx_experiment_created_at": ["created_at"],
    },
    "ab_variants": {
        "idx_variant_experiment": ["experiment_id"],
        "idx_variant_name": ["variant_name"],
    },
    "ab_assignments": {
        "idx_assignment_experiment": ["experiment_id"],
        "idx_assignment_user": ["user_id"],
        "idx_assignment_converted": ["has_converted"],
    },
    "ab_metrics": {
        "idx_metric_experiment": ["experiment_id"],
        "idx_metric_variant": ["variant_id"],
        "idx_metric_event_type": ["event_type"],
        "idx_metric_timestamp": ["event_timestamp"],
    },
}
UNIQUE = {
    "ab_experiments": [["experiment_name"]],
    "ab_variants": [["experiment_id", "variant_name"]],
    "ab_assignments": [["experiment_id", "user_id"]],
    "ab_metrics": [],
}
CHECKS = {
    "ab_variants": {
        "traffic_weight >= 0 AND traffic_weight <= 1",
        "conversion_rate >= 0 AND conversion_rate <= 1",
    },
}

# Everything in the default schema that a person could tell apart, without object numbers.
CATALOGUE = """
SELECT 'column', table_name || '.' || column_name,
       concat_ws(' ', udt_name, is_nullable, column_default, identity_generation)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'enum', t.typname, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY t.typname
UNION ALL
SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid) || p.proowner::regrole
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'table', relname, relowner::regrole || ' ' || coalesce(relacl::text, '')
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
ORDER BY 1, 2, 3
"""


def migrate(engine: Engine, direction: str, revision: str) -> None:
    with engine.connect() as connection:
        getattr(command, direction)(alembic_config.load(connection), revision)
        connection.commit()


def catalogue(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(CATALOGUE))]


@pytest.fixture
def at_001(bootstrapped_database: Engine) -> Engine:
    migrate(bootstrapped_database, "upgrade", "001")
    return bootstrapped_database


@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_revision_001_has_the_columns_and_indexes_that_were_asked_for(
    at_001: Engine, table: str
) -> None:
    inspector = sa.inspect(at_001)
    assert [c["name"] for c in inspector.get_columns(table)] == COLUMNS[table].split(", ")
    named = {str(i["name"]): i["column_names"] for i in inspector.get_indexes(table)}
    assert {n: named[n] for n in named if n.startswith("idx_")} == INDEXES[table]
    assert [k["column_names"] for k in inspector.get_unique_constraints(table)] == UNIQUE[table]
    unique = [i["column_names"] for i in inspector.get_indexes(table) if i["unique"]]
    assert unique == UNIQUE[table]
    assert inspector.get_pk_constraint(table)["constrained_columns"] == ["id"]
    checks = [check["sqltext"] for check in inspector.get_check_constraints(table)]
    plain = {re.sub(r"::double precision|[()]", "", check) for check in checks}
    assert plain == CHECKS.get(table, set())


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("uuid", {"id", "experiment_id", "variant_id", "assignment_id"}),
        (
            "jsonb",
            {
                "default_traffic_split",
                "config_overrides",
                "metadata",
                "event_data",
                "session_context",
            },
        ),
        ("experiment_status", {"status"}),
        (
            "timestamptz",
            {
                *("started_at", "completed_at", "created_at", "updated_at"),
                *("assigned_at", "converted_at", "event_timestamp"),
            },
        ),
    ],
)
def test_revision_001_uses_postgres_own_types(at_001: Engine, kind: str, columns: set[str]) -> None:
    query = text(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_name LIKE 'ab\\_%' AND udt_name = :kind"
    )
    with at_001.connect() as connection:
        assert set(connection.scalars(query, {"kind": kind})) == columns


def test_revision_001_makes_four_tables_and_one_enum(at_001: Engine) -> None:
    assert set(sa.inspect(at_001).get_table_names()) == {*COLUMNS, "alembic_version"}
    enums = sa.inspect(at_001).get_enums()  # type: ignore[attr-defined]
    assert [(enum["name"], enum["labels"]) for enum in enums] == [
        ("experiment_status", ["draft", "active", "paused", "completed", "archived"])
    ]


def test_only_variants_go_with_their_experiment(at_001: Engine) -> None:
    inspector = sa.inspect(at_001)
    found = {
        (table, key["constrained_columns"][0], key["referred_table"]): key["options"]
        for table in COLUMNS
        for key in inspector.get_foreign_keys(table)
    }
    assert found == {
        ("ab_variants", "experiment_id", "ab_experiments"): {"ondelete": "CASCADE"},
        ("ab_assignments", "experiment_id", "ab_experiments"): {},
        ("ab_assignments", "variant_id", "ab_variants"): {},
        ("ab_metrics", "experiment_id", "ab_experiments"): {},
        ("ab_metrics", "variant_id", "ab_variants"): {},
        ("ab_metrics", "assignment_id", "ab_assignments"): {},
    }


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("traffic_weight = 1.01", "ck_ab_variants_traffic_weight"),
        ("traffic_weight = -0.01", "ck_ab_variants_traffic_weight"),
        ("conversion_rate = 1.01", "ck_ab_variants_conversion_rate"),
        ("conversion_rate = -0.01", "ck_ab_variants_conversion_rate"),
        ("conversion_rate = 'NaN'", "ck_ab_variants_conversion_rate"),
        ("variant_name = 'b'", "uq_ab_variants_experiment_id_variant_name"),
    ],
)
def test_variants_keep_their_constraints(at_001: Engine, change: str, constraint: str) -> None:
    with at_001.begin() as connection:
        connection.execute(
            text(
                "WITH e AS (INSERT INTO ab_experiments (experiment_name) VALUES ('e') "
                "RETURNING id) INSERT INTO ab_variants (experiment_id, variant_name) "
                "SELECT id, name FROM e, (VALUES ('a'), ('b')) AS v (name)"
            )
        )
    with (
        pytest.raises(sa.exc.IntegrityError, match=constraint),
        at_001.begin() as connection,
    ):
        connection.execute(text(f"UPDATE ab_variants SET {change} WHERE variant_name = 'a'"))


def test_two_experiments_cannot_have_one_name(at_001: Engine) -> None:
    insert = text("INSERT INTO ab_experiments (experiment_name) VALUES ('e')")
    with at_001.begin() as connection:
        connection.execute(insert)
    with (
        pytest.raises(sa.exc.IntegrityError, match="idx_experiment_name"),
        at_001.begin() as connection,
    ):
        connection.execute(insert)


def test_migrated_schema_is_exactly_the_described_one(database: Engine) -> None:
    described = set(schema.metadata.tables)
    assert set(sa.inspect(database).get_table_names()) == described | {"alembic_version"}
    with database.connect() as connection:
        assert check.drift(connection) == ()


def test_each_revision_goes_down_to_where_it_came_from_and_up_again(
    bootstrapped_database: Engine,
) -> None:
    """Down from the newest one by one, so that each begins where it has been found to end."""
    found = {"base": catalogue(bootstrapped_database)}
    for revision in ALL:
        migrate(bootstrapped_database, "upgrade", revision)
        found[revision] = catalogue(bootstrapped_database)
    for below in ["base", *ALL[:-1]][::-1]:
        migrate(bootstrapped_database, "downgrade", below)
        after = catalogue(bootstrapped_database)
        if below == "base":
            after = [row for row in after if "alembic_version" not in str(row)]
        assert _without_acls(after) == _without_acls(found[below]), below
    migrate(bootstrapped_database, "upgrade", "head")
    assert catalogue(bootstrapped_database) == found[ALL[-1]]


def _without_acls(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    # A grant that was taken back leaves the owner's own privileges written out.
    return [row[:2] if row[0] == "table" else row for row in rows]
