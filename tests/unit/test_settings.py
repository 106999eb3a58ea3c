"""Settings: environment before file before default, and errors that keep the values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.database import psycopg_url
from tasks.errors import ConfigurationError
from tasks.settings import Environment, Settings, load_settings

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_are_the_embedded_database() -> None:
    settings = load_settings()
    assert settings.is_embedded
    assert settings.may_shift_clock
    assert (settings.ledger_retention_days, settings.log_format) == (90, "human")


def test_the_environment_beats_the_file_and_the_file_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "headway.toml").write_text('log_level = "DEBUG"\nledger_retention_days = 7\n')
    monkeypatch.setenv("HEADWAY_LEDGER_RETENTION_DAYS", "8")
    settings = load_settings()
    assert (settings.log_level, settings.ledger_retention_days) == ("DEBUG", 8)
    assert settings.lock_timeout_seconds == 1.0


def test_environments_to_migrate_are_declared_in_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "headway.toml").write_text(
        '[environments.staging]\norder = 1\nurl = "postgresql://h/s"\n'
        '[environments.production]\norder = 2\nurl_env = "PRODUCTION_URL"\nis_protected = true\n'
    )
    found = load_settings().environments
    assert found["staging"].database_url() == "postgresql://h/s"
    with pytest.raises(ConfigurationError, match="PRODUCTION_URL is not set"):
        found["production"].database_url()
    monkeypatch.setenv("PRODUCTION_URL", "postgresql://h/p")
    assert found["production"].database_url() == "postgresql://h/p"


PROTECTED = {"production": Environment(url_env="X", is_protected=True)}


@pytest.mark.parametrize(
    ("settings", "may"),
    [
        (Settings(), True),
        (Settings(database_url="postgresql://h/d"), False),
        (Settings(environments=PROTECTED), False),
        (Settings(allow_clock_shift=False), False),
        (Settings(environments=PROTECTED, allow_clock_shift=True), True),
    ],
)
def test_the_clock_may_be_shifted_on_unprotected_local_use(settings: Settings, may: bool) -> None:
    assert settings.may_shift_clock is may


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (f"ledger_retention_days = '{SECRET}'", "ledger_retention_days"),
        (f"log_levle = '{SECRET}'", "log_levle"),
        (f"[environments.a]\nurl = '{SECRET}'\nurl_env = 'X'", "environments.a"),
        ("[environments.a]\norder = 1", "give either url or url_env"),
        (f"[environments.a]\nurl = '{SECRET}'\nprotected = true", "environments.a.protected"),
        (f"database_url = {SECRET}", r"headway\.toml cannot be read"),
    ],
)
def test_a_bad_file_is_named_without_its_values(folder: Path, content: str, named: str) -> None:
    (folder / "headway.toml").write_text(content)
    with pytest.raises(ConfigurationError, match=named) as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_a_bad_variable_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_ENVIRONMENTS", "{" + SECRET)
    with pytest.raises(ConfigurationError, match="environments") as error:
        load_settings()
    assert SECRET not in str(error.value)


def test_settings_show_no_secret() -> None:
    settings = Settings(database_url=f"postgresql://u:{SECRET}@h/d")
    environment = Environment(url=f"postgresql://u:{SECRET}@h/d")
    assert SECRET not in f"{settings!r}{settings}{environment!r}{settings.model_dump_json()}"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_plain_url_means_psycopg_3(scheme: str) -> None:
    url = psycopg_url(f"{scheme}://u:p%40w@h:5433/d?sslmode=require")
    assert (url.drivername, url.password, url.port) == ("postgresql+psycopg", "p@w", 5433)


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"mysql://u:{SECRET}@h/d",
        f"postgresql+psycopg2://u:{SECRET}@h/d",
        f"postgresql://u:x@h:{SECRET}/d",
        f"postgresql://u:x:{SECRET}@[::1/d",
    ],
)
def test_another_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        psycopg_url(url)
    assert SECRET not in str(error.value)
    assert error.value.__context__ is None or error.value.__suppress_context__
