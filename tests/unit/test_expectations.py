"""The suites are reviewed as JSON: `python -m tests.unit.test_expectations` writes it anew."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import expectations
from tasks.errors import UnknownName

SNAPSHOT = Path(__file__).with_name("expectation_suites.json")
TABLES = ["ab_assignments", "ab_experiments", "ab_metrics", "ab_variants", "incoming_event"]


def described() -> dict[str, Any]:
    found = {}
    for name in expectations.suites.names():
        suite: Any = expectations.build(name).to_json_dict()
        # The id is random, and the suite's own meta holds the library's version.
        del suite["id"], suite["meta"]
        found[name] = suite
    return found


def test_there_is_a_suite_for_each_table_of_revision_001_and_for_a_batch_of_events() -> None:
    assert expectations.suites.names() == TABLES
    assert [expectations.suites.get(name).table for name in TABLES] == TABLES


def test_suites_are_as_the_snapshot_shows_them() -> None:
    assert described() == json.loads(SNAPSHOT.read_text("utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_every_expectation_says_who_owns_it_why_it_holds_and_how_bad_a_failure_is(
    name: str,
) -> None:
    suite: Any = expectations.build(name)
    reasons = [e.meta["reason"] for e in suite.expectations]
    assert len(set(reasons)) == len(reasons)
    assert {e.meta["owner"] for e in suite.expectations} == {"experiments"}
    assert {e.severity.value for e in suite.expectations} <= {"critical", "warning", "info"}


@pytest.mark.parametrize("name", TABLES)
def test_sql_that_joins_gives_the_table_an_alias_because_postgres_15_asks_for_one(
    name: str,
) -> None:
    suite: Any = expectations.build(name)
    queries = [getattr(each, "unexpected_rows_query", None) or "" for each in suite.expectations]
    joining = [query for query in queries if " JOIN " in query]
    assert all(re.search(r"FROM {batch} AS \w+ JOIN", query) for query in joining), joining


def test_an_unknown_suite_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'ab_metrics'.*ab_variants"):
        expectations.build("ab_metric")


def test_importing_the_registry_does_not_load_the_library() -> None:
    program = (
        "import sys, expectations, tasks.validation\n"
        "sys.exit(any(m in sys.modules for m in ('great_expectations', 'prefect', 'pandas')))"
    )
    root = Path(__file__).parents[2]
    finished = subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
    assert finished.returncode == 0


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n", "utf-8")
