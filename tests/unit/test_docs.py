"""What the documents promise exists, and what exists is in the documents."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from click import Group

import expectations
from flows.cli import cli
from tasks.errors import Refused
from tasks.experiments.definition.files import as_plan
from tasks.experiments.definition.history import History
from tasks.experiments.definition.planning import plan_sample
from tasks.experiments.definition.sample import Baseline
from tasks.experiments.metrics import metrics
from tasks.rollouts.health.checks import health_checks
from tasks.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMAND = re.compile(r"^headway (.+)$|`headway ([a-z][^`\n]*)`", re.MULTILINE)
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8")):
        target = (page.parent / file if file else page).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", target, re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(page: Path) -> None:
    for line in COMMAND.findall(page.read_text("utf-8")):
        words = "".join(line).split()
        found: object = cli
        while isinstance(found, Group) and words:
            name = words.pop(0)
            assert name in found.commands, f"headway {' '.join(line)}"
            found = found.commands[name]


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - {"environments"}))
def test_every_setting_is_in_the_table(name: str) -> None:
    assert f"| `HEADWAY_{name.upper()}` |" in OPERATIONS


def test_every_deployment_is_in_the_table() -> None:
    page = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    names = {
        f"{each['entrypoint'].partition(':')[2].replace('_', '-')}/{each['name']}"
        for each in page["deployments"]
    }
    assert {name for name in names if f"`{name}`" not in OPERATIONS} == set()


def test_every_registered_metric_check_and_suite_is_described() -> None:
    experiments = (ROOT / "docs/experiments.md").read_text("utf-8")
    rollouts = (ROOT / "docs/rollouts.md").read_text("utf-8")
    assert [kind for kind in metrics.names() if f"`{kind}`" not in experiments] == []
    assert [check for check in health_checks.names() if f"| `{check}` |" not in rollouts] == []
    assert [name for name in expectations.suites.names() if f"`{name}`" not in experiments] == []


def test_the_plan_of_an_experiment_says_what_its_page_says() -> None:
    page = (ROOT / "docs/experiments.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (words, units, days) = re.findall(
        r"^headway experiment plan (.+?) +# ([\d,]+) units, (\d+) days$", page, re.MULTILINE
    )[0]
    options = re.findall(r"(--[a-z-]+) ([\d.]+)", words)
    assert words == " ".join(["-f greeting.toml", *map(" ".join, options)])
    stated = {name: float(value) for name, value in options}
    plan = as_plan(tomllib.loads(block), "greeting.toml")
    nothing = History(days=28, units=0, n=0, baseline=None, units_a_day=None)
    baseline, weekly = Baseline(mean=stated["--mean"]), stated["--units-a-week"]
    found = plan_sample(plan, nothing, baseline=baseline, units_a_week=weekly)
    assert found.planned_sample_size == plan.planned_sample_size == int(units.replace(",", ""))
    assert found.days == int(days)
    with pytest.raises(Refused, match="no-history"):
        plan_sample(plan, nothing)


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")
    pages = [page.name for page in (ROOT / "docs/adr").glob("0*.md")]
    assert [page for page in pages if f"({page})" not in index] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    wanted = [*project["dependencies"], *extras]
    text = (ROOT / "docs/dependencies.md").read_text("utf-8")
    names = [re.split(r"[<>=]", requirement)[0] for requirement in wanted]
    assert [name for name in names if name not in text] == []
