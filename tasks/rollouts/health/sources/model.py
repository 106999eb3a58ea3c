"""What a health source is: a function from what is asked of a version to what was measured.

    @health_source("ledger", LedgerConfig)
    def read_ledger(config: LedgerConfig, inquiry: Inquiry, secrets: Secrets) -> Measured: ...

The config model says what the source needs; a policy gives it beside the source's ``kind``. Other
packages register theirs by the entry point group ``headway.health_sources``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, model_validator

from tasks.errors import HeadwayError
from tasks.registry import Registry
from tasks.rollouts.definition.policy import CheckPolicy
from tasks.rollouts.health.measured import Measured


class Asked(BaseModel):
    """One check to read: of the version and, where the rollout names one, of its control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout_id: int
    check: CheckPolicy
    model_version: str
    control_version: str | None = None
    window_start: AwareDatetime
    window_end: AwareDatetime


class Inquiry(BaseModel):
    """What a source is asked: one metric of one version in the half-open window [start, end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    model_version: str
    window_start: AwareDatetime
    window_end: AwareDatetime

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.window_end - self.window_start).total_seconds()


class SecretName(BaseModel):
    """Where a secret is kept: never the secret itself, since a policy is stored and shown.

    ``env`` is an environment variable that the setting `health_secrets` lists, ``block`` a Secret
    block of Prefect. ``prefix`` is put before it: ``Bearer``, with its blank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: Annotated[str, Field(min_length=1)] | None = None
    block: Annotated[str, Field(min_length=1)] | None = None
    prefix: str = ""

    @model_validator(mode="after")
    def _is_one(self) -> SecretName:
        if (self.env is None) == (self.block is None):
            raise ValueError("a secret is kept in one place: either env or block")
        return self

    @property
    def bare(self) -> SecretName:
        """The place alone."""
        return self.model_copy(update={"prefix": ""})

    def __str__(self) -> str:
        return f"env {self.env}" if self.env else f"block {self.block}"


class SourceTrouble(HeadwayError):
    """A source that gave nothing that can be used. The text holds no secret."""


Secrets: TypeAlias = Mapping[SecretName, SecretStr]
"""The secrets that the sources in use name, by their bare names; one that could not be had is not
among them."""


def secret_value(secrets: Secrets, name: SecretName) -> str:
    """The secret with its prefix; SourceTrouble where it could not be had."""
    found = secrets.get(name.bare)
    if found is None:
        raise SourceTrouble(f"its secret ({name}) could not be had")
    return name.prefix + found.get_secret_value()


def secret_names(value: Any) -> Iterator[SecretName]:
    """Every secret that a config names, however deep."""
    match value:
        case SecretName():
            yield value
        case BaseModel():
            yield from secret_names(dict(value))
        case dict():
            for each in value.values():
                yield from secret_names(each)
        case list() | tuple():
            for each in value:
                yield from secret_names(each)


Read: TypeAlias = Callable[[Any, Inquiry, Secrets], Measured]
R = TypeVar("R", bound=Callable[..., Measured])


@dataclass(frozen=True, slots=True)
class HealthSource:
    """A source: what it needs to be told, and how it is read.

    ``read`` raises whatever it likes: an error is a source that is broken, never health. Without it
    the source lies in the control database, and is read there for all checks at once.
    """

    config: type[BaseModel]
    read: Read | None = None


health_sources: Registry[HealthSource] = Registry("health source", "headway.health_sources")


class SamplesConfig(BaseModel):
    """Nothing: the check's metric names the samples that applications record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SAMPLES = health_sources.register("samples")(HealthSource(SamplesConfig))


def health_source(name: str, config: type[BaseModel]) -> Callable[[R], R]:
    """Register a function as the health source of that name, told what ``config`` says."""

    def add(read: R) -> R:
        health_sources.register(name)(HealthSource(config, read))
        return read

    return add
