"""How the tests of health sources ask: one check of one version, in the hour before noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine

from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.guard.judging import judge_check
from tasks.rollouts.health.measured import Measured, Reading
from tasks.rollouts.health.reading import read_health
from tasks.rollouts.health.sources.model import Asked, SecretName, Secrets

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKEN = SecretName(env="TOKEN")
SECRETS: Secrets = {TOKEN: SecretStr("hunter2")}


def asked(
    source: dict[str, Any], version: str = "v2", control: str | None = None, **check: Any
) -> Asked:
    """A check of the version."""
    given = {"check": "error_rate", "limit": 0.05} | check
    return Asked(
        rollout_id=1,
        check=CheckPolicy.model_validate(given | {"source": source}),
        model_version=version,
        control_version=control,
        window_start=NOON - timedelta(hours=1),
        window_end=NOON,
    )


def read(
    engine: Engine, *questions: Asked, seconds: float = 20.0, secrets: Secrets = SECRETS
) -> list[Reading]:
    """What the sources say."""
    with engine.begin() as tx:
        return read_health(tx, questions, secrets, deadline_seconds=seconds)


def measured(
    engine: Engine, source: dict[str, Any], version: str = "v2", secrets: Secrets = SECRETS
) -> Measured:
    """What one source says of one version."""
    [reading] = read(engine, asked(source, version), secrets=secrets)
    return reading.canary


def verdict(question: Asked, reading: Reading) -> str:
    """What the threshold makes of it."""
    policy = RolloutPolicy(checks=(question.check,))
    return str(judge_check(reading, question.check, policy, 1).health)
