"""The table of endpoints: complete, and everything that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click import Group

from flows.cli import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/endpoints.md").read_text("utf-8")
ROWS = re.findall(r"^\| (?!---|Endpoint|Operation)(.+?) \| (.+) \|$", PAGE, re.MULTILINE)
ENDPOINTS = """
GET /ab-testing/experiments
POST /ab-testing/experiments
GET /ab-testing/experiments/:id
PUT /ab-testing/experiments/:id
POST /ab-testing/experiments/:id/start
POST /ab-testing/experiments/:id/stop
POST /ab-testing/experiments/:id/pause
POST /ab-testing/experiments/:id/resume
GET /ab-testing/experiments/:id/results
GET /ab-testing/experiments/:id/statistical-analysis
GET /ab-testing/experiments/:id/effect-size
POST /ab-testing/experiments/:id/auto-select-winner
POST /ab-testing/experiments/:id/auto-allocate-traffic
GET /ab-testing/reports/dashboard
GET /ab-testing/reports/experiment/:id
GET /ab-testing/reports/performance-comparison
POST /api/experiments
GET /api/experiments
GET /api/experiments/:id
PUT /api/experiments/:id/start
PUT /api/experiments/:id/pause
PUT /api/experiments/:id/complete
DELETE /api/experiments/:id
GET /api/experiments/:id/variant
POST /api/experiments/:id/track
GET /api/experiments/:id/results
POST /api/experiments/rollouts
GET /api/experiments/rollouts
GET /api/experiments/rollouts/:id
PUT /api/experiments/rollouts/:id/start
PUT /api/experiments/rollouts/:id/update
PUT /api/experiments/rollouts/:id/rollback
DELETE /api/experiments/rollouts/:id
GET /api/experiments/rollouts/check/:modelVersion
GET /api/comparisons/percentile-ranking/{document_id}
GET /api/comparisons/peer-comparison/{document_id}
GET /api/comparisons/historical
GET /api/comparisons/cohort-stats/{document_id}
GET /migrations
POST /migrations/run
POST /migrations/rollback
POST /migrations/rollback/:count
DELETE /migrations/reset
GET /migrations/conflicts
""".strip().splitlines()


def _deployments() -> set[str]:
    page = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    return {
        f"{each['entrypoint'].partition(':')[2].replace('_', '-')}/{each['name']}"
        for each in page["deployments"]
    }


def _functions() -> set[str]:
    versions = (ROOT / "migrations/versions").glob("*.py")
    code = "\n".join(path.read_text("utf-8") for path in versions)
    return set(re.findall(r"CREATE (?:OR REPLACE )?FUNCTION (?:public\.)?(\w+)\(", code))


def _is_command(words: list[str]) -> bool:
    found: object = cli
    for word in words:
        if not isinstance(found, Group):
            return True
        if word not in found.commands:
            return False
        found = found.commands[word]
    return not isinstance(found, Group)


def test_every_endpoint_is_in_the_table_once() -> None:
    assert [row for row, _ in ROWS if row.startswith("`")] == [f"`{each}`" for each in ENDPOINTS]


@pytest.mark.parametrize(("endpoint", "here"), ROWS, ids=[row.strip("`") for row, _ in ROWS])
def test_what_a_row_names_exists(endpoint: str, here: str) -> None:
    spans = re.findall(r"`([^`]+)`", here)
    commands = [span.split()[1:] for span in spans if span.startswith("headway ")]
    flows = [span for span in spans if re.fullmatch(r"[a-z-]+/[a-z]+", span)]
    functions = [span.partition("(")[0] for span in spans if re.fullmatch(r"\w+\(.*\)", span)]
    assert commands or flows or functions
    assert [words for words in commands if not _is_command(words)] == []
    assert set(flows) - _deployments() == set()
    assert set(functions) - _functions() == set()
