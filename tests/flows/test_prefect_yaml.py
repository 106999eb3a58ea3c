"""`prefect.yaml`, read strictly: Prefect drops keys that it does not know without a word."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import prefect
import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger
from prefect.utilities.callables import parameter_schema

from flows.automations import automations
from flows.deploying import WORK_POOL
from flows.pipeline import pipelines, validate
from flows.stack import RUN_AT_START
from tasks.errors import InputError

ROOT = Path(__file__).parents[2]

FILE_KEYS = {"name", "definitions", "pull", "deployments"}
DEPLOYMENT_KEYS = {
    "name",
    "version",
    "description",
    "tags",
    "entrypoint",
    "parameters",
    "concurrency_limit",
    "work_pool",
}
OPTIONAL_KEYS = {"schedules", "triggers"}
SCHEDULE_KEYS = {"slug", "cron", "timezone", "active"}
CONCURRENCY_KEYS = {"limit", "collision_strategy"}


def read_file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    return content


DEPLOYMENTS: list[dict[str, Any]] = read_file()["deployments"]

each_deployment = pytest.mark.parametrize(
    "deployment",
    DEPLOYMENTS,
    ids=[f"{each['entrypoint'].partition(':')[2]}/{each['name']}" for each in DEPLOYMENTS],
)


def flow_of(deployment: dict[str, Any]) -> prefect.Flow[..., Any]:
    file, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, prefect.Flow)
    return flow


def test_the_file_has_only_keys_that_mean_something() -> None:
    assert set(read_file()) == FILE_KEYS


@each_deployment
def test_a_deployment_is_complete_and_has_no_misspelt_key(deployment: dict[str, Any]) -> None:
    assert DEPLOYMENT_KEYS <= set(deployment) <= DEPLOYMENT_KEYS | OPTIONAL_KEYS
    assert deployment["description"].endswith(".")
    assert deployment["version"]
    assert deployment["tags"]
    assert deployment["work_pool"] == {"name": WORK_POOL}


@each_deployment
def test_a_deployment_has_a_concurrency_limit(deployment: dict[str, Any]) -> None:
    limit = deployment["concurrency_limit"]
    assert set(limit) == CONCURRENCY_KEYS
    assert limit["limit"] >= 1
    assert limit["collision_strategy"] in {"ENQUEUE", "CANCEL_NEW"}


@each_deployment
def test_a_schedule_survives_being_deployed_again(deployment: dict[str, Any]) -> None:
    """Without a slug a paused schedule comes back to life; without a timezone it shifts."""
    schedules = deployment.get("schedules", [])
    for schedule in schedules:
        assert set(schedule) == SCHEDULE_KEYS
        assert schedule["active"] is True
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    assert ("scheduled" in deployment["tags"]) == bool(schedules)
    assert len({schedule["slug"] for schedule in schedules}) == len(schedules)


@each_deployment
def test_an_entrypoint_is_a_pipeline_with_help_for_every_parameter(
    deployment: dict[str, Any],
) -> None:
    flow = flow_of(deployment)
    assert pipelines()[flow.name] is flow
    assert (flow.description or "").strip()
    properties = parameter_schema(flow).properties
    assert [name for name, facts in properties.items() if not facts.get("description")] == []


@each_deployment
def test_the_parameters_fit_the_flow(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    if deployment.get("schedules"):
        validate(flow, deployment["parameters"])  # nobody is there to fill in the rest
    else:
        assert set(deployment["parameters"]) <= set(parameter_schema(flow).properties)


@each_deployment
def test_a_trigger_has_no_misspelt_key_and_gives_parameters_that_the_flow_has(
    deployment: dict[str, Any],
) -> None:
    for trigger in deployment.get("triggers", []):
        assert set(trigger) <= set(DeploymentEventTrigger.model_fields)
        read = DeploymentEventTrigger.model_validate(trigger)
        assert read.enabled
        assert read.description
        properties = parameter_schema(flow_of(deployment)).properties
        assert set(read.parameters or {}) <= set(properties)


def test_parameters_that_do_not_fit_would_be_noticed() -> None:
    with pytest.raises(InputError, match="has no parameter slott"):
        validate(flow_of({"entrypoint": "flows/rollout.py:progress_rollouts"}), {"slott": "x"})


def test_no_deployment_is_named_twice() -> None:
    names = Counter(f"{flow_of(each).name}/{each['name']}" for each in DEPLOYMENTS)
    assert [name for name, count in names.items() if count > 1] == []
    assert set(RUN_AT_START) <= set(names)


def test_every_pipeline_is_deployed() -> None:
    for file in (ROOT / "flows").glob("*.py"):
        if not file.stem.startswith("__"):
            import_module(f"flows.{file.stem}")
    ours = {name for name, flow in pipelines().items() if flow.fn.__module__.startswith("flows.")}
    assert ours == {flow_of(each).name for each in DEPLOYMENTS}


def test_automations_have_different_names_and_say_what_they_do() -> None:
    names = [automation.name for automation in automations()]
    assert len(set(names)) == len(names)
    assert all(automation.description for automation in automations())
