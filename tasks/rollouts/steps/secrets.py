"""The secrets that health sources name, resolved where the steps run; never stored, never shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr

from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.health.sources.model import SecretName, Secrets
from tasks.rollouts.health.sources.secrets import from_environment, named_secrets


def resolve_secrets(checks: Iterable[CheckPolicy]) -> Secrets:
    """Every secret that the checks name and that can be had; a source that misses one says so."""
    found = {name: _resolved(name) for name in named_secrets(checks)}
    return {name: secret for name, secret in found.items() if secret is not None}


def _resolved(name: SecretName) -> SecretStr | None:
    return from_environment(name) if name.block is None else _from_block(name.block)


def _from_block(name: str) -> SecretStr | None:
    from prefect.blocks.system import Secret  # only where a source names one: it takes seconds

    try:
        block: Any = Secret.load(name)  # no coroutine, because steps run outside of event loops
        value = str(block.get())
    except Exception:  # no such block, or no server that could be asked: the source will miss it
        return None
    return SecretStr(value) if value else None
