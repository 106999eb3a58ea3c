"""All settings in one class: environment variables first, then `headway.toml`, then defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from tasks.errors import ConfigurationError, UnknownSetting

_FOR_TESTS = "HEADWAY_TEST_DATABASE_URL"  # read by the test suite, on any Postgres


class Environment(BaseModel):
    """A database to migrate, declared as `[environments.NAME]` in `headway.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: int = 0
    url: SecretStr | None = None
    url_env: str | None = Field(default=None, description="environment variable holding the URL")
    is_protected: bool = Field(default=False, description="a rollback must give the name again")
    forbid_reset: bool | None = Field(default=None, description="unset = as is_protected")
    max_lock_seconds: float | None = Field(
        default=None, gt=0, description="how long a migration may block a table; unset = any time"
    )
    rehearsal_url: SecretStr | None = None
    rehearsal_url_env: str | None = Field(
        default=None, description="variable holding the URL of a server to rehearse on"
    )
    rehearsal_data: Literal["full", "sample", "none"] = "full"
    sample_rows: int = Field(default=10_000, ge=1, description="rows of a table in a sample")
    mask: dict[str, Literal["hash", "null"]] = Field(
        default_factory=dict, description="columns (table.column) that no copy may show"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Environment:
        if (self.url is None) == (self.url_env is None):
            message = "give either url or url_env"
            raise ValueError(message)
        if self.rehearsal_url is not None and self.rehearsal_url_env is not None:
            message = "give either rehearsal_url or rehearsal_url_env"
            raise ValueError(message)
        return self

    def database_url(self) -> str:
        """The URL itself; ConfigurationError if the named environment variable is not set."""
        return _secret(self.url) or _variable(self.url_env or "")

    def rehearsal_server_url(self) -> str | None:
        """The URL of the server to rehearse on; None is the environment's own."""
        if self.rehearsal_url_env is not None:
            return _variable(self.rehearsal_url_env)
        return _secret(self.rehearsal_url)


class Channel(BaseModel):
    """A way to tell people, declared as `[notify.NAME]` in `headway.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(description="a registered notifier: webhook, prefect")
    kinds: tuple[str, ...] = Field(default=(), description="what to tell: winner, srm, …; () = all")
    url: SecretStr | None = None
    url_env: str | None = Field(default=None, description="environment variable holding the URL")
    secret_env: str | None = Field(default=None, description="variable holding the signing secret")
    block: str | None = Field(default=None, description="Prefect block, as type/name")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Channel:
        if self.kind == "webhook" and (self.url is None) == (self.url_env is None):
            message = "a webhook needs either url or url_env"
            raise ValueError(message)
        if self.kind == "prefect" and not self.block:
            message = "a Prefect notification needs its block, as type/name"
            raise ValueError(message)
        return self

    def address(self) -> str:
        """The URL itself; ConfigurationError if the named environment variable is not set."""
        return _secret(self.url) or _variable(self.url_env or "")

    def secret_value(self) -> str | None:
        """The signing secret; None where the channel has none."""
        return None if self.secret_env is None else _variable(self.secret_env)


class Migrations(BaseModel):
    """The Alembic project to migrate with, declared as `[migrations]` in `headway.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script_location: Path | None = Field(default=None, description="unset = Headway's own")
    version_locations: tuple[Path, ...] = ()
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    schemas: tuple[str, ...] | None = Field(
        default=None, description="schemas that the project describes; unset = all"
    )
    ignore: tuple[str, ...] = Field(
        default=(), description="objects of others: patterns such as `table public.spatial_*`"
    )
    approved: tuple[str, ...] = Field(
        default=(), description="hazards that were approved for good, as code@revision"
    )


class Rollouts(BaseModel):
    """How long what was seen of rollouts is kept, declared as `[rollouts]` in `headway.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    health_check_days: int = Field(default=90, ge=1, description="verdicts on health")
    health_sample_days: int = Field(default=30, ge=1, description="samples of health")


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _variable(name: str) -> str:
    url = os.environ.get(name)
    if not url:
        raise ConfigurationError(
            f"environment variable {name} is not set; headway.toml expects a URL or a secret there"
        )
    return url


class Settings(BaseSettings):
    """Settings with the prefix `HEADWAY_` (see docs/operations.md for the table)."""

    model_config = SettingsConfigDict(
        env_prefix="HEADWAY_", toml_file="headway.toml", extra="forbid", frozen=True
    )

    database_url: SecretStr | None = Field(
        default=None, description="control database; unset = embedded Postgres"
    )
    data_dir: Path = Field(
        default=Path(".headway"), description="folder for the embedded Postgres and Prefect's state"
    )
    embedded_tcp: bool = Field(
        default=False, description="let the embedded Postgres listen on 127.0.0.1 (scram)"
    )
    embedded_fsync: bool = Field(default=True, description="off only for throw-away databases")
    allow_clock_shift: bool | None = Field(
        default=None,
        description="may clock_now() be shifted? unset = only on the unprotected embedded database",
    )
    lock_timeout_seconds: float = Field(default=1.0, gt=0)
    migration_wait_seconds: float = Field(
        default=60.0,
        ge=0,
        description="how long to wait for another migration of the same database",
    )
    statement_timeout_seconds: float = Field(default=0.0, ge=0, description="0 = no limit")
    ledger_retention_days: int = Field(default=90, ge=1)
    waiting_event_retention_days: int = Field(
        default=30, ge=1, description="how long an event waits for its unit's assignment"
    )
    log_format: Literal["human", "json"] = "human"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    migrations: Migrations = Migrations()
    environments: dict[str, Environment] = Field(default_factory=dict)
    notify: dict[str, Channel] = Field(default_factory=dict)
    rollouts: Rollouts = Rollouts()
    health_secrets: tuple[str, ...] = Field(
        default=(), description="environment variables that health sources may name"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments beat the environment, the environment beats `headway.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def is_embedded(self) -> bool:
        """True when no control database is named, so the embedded one is used."""
        return self.database_url is None

    @property
    def may_shift_clock(self) -> bool:
        """True where `clock_now()` may be given an offset: tests, the demo, local use."""
        if self.allow_clock_shift is not None:
            return self.allow_clock_shift
        return self.is_embedded and not any(e.is_protected for e in self.environments.values())


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the settings once per process; ConfigurationError names each bad one, not its value."""
    settings = _read()
    _refuse_misspelt(settings, os.environ)
    return settings


def _read() -> Settings:
    try:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"headway.toml cannot be read: {error}") from None
    except SettingsError as error:
        raise ConfigurationError(f"the settings cannot be read: {error}") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigurationError(
            f"settings (HEADWAY_* variables or headway.toml) cannot be used: {problems}"
        ) from None


def _refuse_misspelt(settings: Settings, environment: Mapping[str, str]) -> None:
    # A misspelt HEADWAY_DATABASE_URL would silently mean the embedded database.
    known = {f"HEADWAY_{name.upper()}" for name in Settings.model_fields}
    declared = settings.environments.values()
    urls = {each.url_env for each in declared} | {each.rehearsal_url_env for each in declared}
    told = settings.notify.values()
    urls |= {each.url_env for each in told} | {each.secret_env for each in told}
    allowed = known | urls | set(settings.health_secrets) | {_FOR_TESTS}
    for name in sorted(environment):
        if name.startswith("HEADWAY_") and name not in allowed:
            raise UnknownSetting("setting", name, known)
