"""Which secrets the sources of some checks name, and the ones that are kept in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pydantic import SecretStr

from tasks.errors import HeadwayError
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.health.sources.configuring import configured
from tasks.rollouts.health.sources.model import SecretName, secret_names
from tasks.settings import load_settings


def named_secrets(checks: Iterable[CheckPolicy]) -> set[SecretName]:
    """Every secret that the checks' sources name, without its prefix."""
    found: set[SecretName] = set()
    for check in checks:
        try:
            config = configured(check)[1]
        except HeadwayError:  # it is told where the source is read
            continue
        found |= {name.bare for name in secret_names(config)}
    return found


def from_environment(name: SecretName) -> SecretStr | None:
    """The secret in a variable that the setting `health_secrets` lists; None where there is none.

    Without that list whoever may start a rollout could have any variable sent to any address.
    """
    if name.env is None or name.env not in load_settings().health_secrets:
        return None
    value = os.environ.get(name.env)
    return SecretStr(value) if value else None
