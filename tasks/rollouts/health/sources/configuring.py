"""What a check's source is told: its config, as the source's model reads it."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

# The built-in sources register themselves.
import tasks.rollouts.health.sources.http
import tasks.rollouts.health.sources.prometheus
import tasks.rollouts.health.sources.query  # noqa: F401
from tasks.errors import InputError
from tasks.misfits import problems
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.health.checks import health_checks
from tasks.rollouts.health.sources.model import HealthSource, health_sources


def check_sources(policy: RolloutPolicy) -> None:
    """Make sure that every check and its source exist, and that the source is told what it needs.

    UnknownName lists the known ones; InputError says which field of which check does not fit.
    """
    for check in policy.checks:
        health_checks.get(check.check)
        configured(check)


def configured(check: CheckPolicy) -> tuple[HealthSource, BaseModel]:
    """The source of a check and its config; UnknownName, or InputError that names the fields."""
    source = health_sources.get(check.source.kind)
    try:
        return source, source.config.model_validate(check.source.given)
    except ValidationError as error:
        told = problems(error, source.config)
        raise InputError(
            f"check {check.name!r} cannot use source {check.source.kind!r}: {told}"
        ) from None
