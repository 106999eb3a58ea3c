"""The worked examples of CONTRIBUTING.md are tried out as they are printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, text

from flows import experiments as flows_of_experiments
from flows import pipeline
from tasks import ledger
from tasks.experiments import metrics
from tasks.experiments.definition import reading
from tasks.experiments.statistics.comparison import Comparison
from tasks.experiments.statistics.moments import SampleMean
from tasks.experiments.steps import defining as experiments
from tasks.rollouts.definition import policy
from tasks.rollouts.health import checks, measured
from tests import readings
from tests.faults import cases

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def blocks(section: str, language: str) -> list[str]:
    [body] = re.findall(
        rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return re.findall(rf"^```{language}\n(.*?)^```", body, re.MULTILINE | re.DOTALL)


def run_block(section: str, language: str, *modules: Any, **names: Any) -> dict[str, Any]:
    """Run the section's code as if it stood in the given modules."""
    namespace: dict[str, Any] = {}
    for module in modules:
        namespace |= vars(module)
    namespace |= names
    for block in blocks(section, language):
        exec(compile(block, f"{PAGE.name}: {section}", "exec"), namespace)
    return namespace


@pytest.fixture
def _registries_as_before() -> Iterator[None]:
    registries: list[dict[str, Any]] = [
        ledger._steps,
        cases.KILL_CASES,
        pipeline._pipelines,
        metrics.metrics._items,
        checks.health_checks._items,
    ]
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.mark.usefixtures("_registries_as_before")
def test_the_step_does_its_work_once_when_its_flow_runs(database: Engine) -> None:
    [sql] = blocks("Add a step", "sql")
    statement = text(re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE).rstrip(";\n"))
    queries = {**reading.QUERIES, "archive_completed": statement}
    made = run_block("Add a step", "python", cases, experiments, QUERIES=queries, text=text)
    steps = _Steps(made["archive_experiments"])
    flow = run_block("Add a flow", "python", flows_of_experiments, steps=steps)
    arguments = cases.KILL_CASES["archive-experiments"]()
    assert pipeline.run_by_ledger(flow["archive_experiments"], arguments) == 1
    assert pipeline.run_by_ledger(flow["archive_experiments"], {}) == 0


class _Steps:
    def __init__(self, archive_experiments: Callable[..., int]) -> None:
        self.archive_experiments = archive_experiments


def test_the_deployment_is_one_as_the_others_are() -> None:
    [block] = blocks("Add a flow", "yaml")
    page = yaml.safe_load((PAGE.parent / "prefect.yaml").read_text("utf-8"))
    [deployment] = yaml.safe_load(f"a: &by_clock {{x: 1}}\nb:\n{block}")["b"]
    del deployment["x"]
    assert any(set(deployment) <= set(known) for known in page["deployments"])


@pytest.mark.usefixtures("_registries_as_before")
def test_the_metric_compares_two_arms() -> None:
    from math import log, sqrt

    from scipy import special

    from tasks.experiments.statistics.comparison import normal_p_value, relative_lift

    names = {"log": log, "sqrt": sqrt, "special": special}
    names |= {"normal_p_value": normal_p_value, "relative_lift": relative_lift}
    run_block("Add a metric", "python", metrics, **names)
    compare = metrics.metrics.get("log_ratio").compare
    control, treatment, flat = (
        metrics.ArmMoments(SampleMean(400, mean, m2))
        for mean, m2 in ((10.0, 1600.0), (11.0, 1600.0), (10.0, 0.0))
    )
    found = compare(control, treatment, 0.05)
    # By hand: log(1.1) = 0.09531, over sqrt(4.01003 / 400 / 100 + 4.01003 / 400 / 121) = 0.0135315
    assert found.z == pytest.approx(0.09531 / 0.0135315, rel=1e-4)
    assert found.is_significant()
    assert found.lift == pytest.approx(0.1)
    assert compare(flat, treatment, 0.05) == Comparison()


@pytest.mark.usefixtures("_registries_as_before")
def test_the_health_check_judges_its_queue() -> None:
    made = run_block("Add a health check", "python", checks, measured, policy, readings)
    made["test_a_queue_that_reaches_its_limit_is_unhealthy"]()
