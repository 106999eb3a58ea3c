"""A source is told what it needs at the start, and no policy ever holds a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.errors import HeadwayError
from tasks.rollouts.definition.policy import CheckPolicy, RolloutPolicy
from tasks.rollouts.health.sources.configuring import check_sources
from tasks.rollouts.health.sources.model import SecretName, health_sources
from tasks.rollouts.health.sources.secrets import from_environment, named_secrets
from tasks.settings import load_settings

URL = "https://metrics.example/x"
HTTP = {"kind": "http", "url": URL, "value": "/v"}
POST = HTTP | {"method": "POST"}
PROM = {"kind": "prometheus", "url": URL, "query": "up"}
QUERY = {"kind": "query", "url": {"env": "DB"}, "query": "SELECT 1 AS value, :model_version"}


def check(source: dict[str, Any]) -> CheckPolicy:
    return CheckPolicy.model_validate({"check": "latency", "limit": 200, "source": source})


FINE = POST | {
    "url": f"{URL}?version={{model_version}}&design=4&basic=1",
    "headers": {"X-Author": "ann", "Authorization": {"env": "TOKEN", "prefix": "Bearer "}},
    "body": {"max_tokens": 5, "has_token": True, "metric": "basically {metric}", "author": "ann"},
}


@pytest.mark.parametrize("source", [{"kind": "samples"}, HTTP, PROM, QUERY, FINE])
def test_a_source_that_is_told_all_is_taken(source: dict[str, Any]) -> None:
    check_sources(RolloutPolicy(checks=(check(source),)))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"kind": "promteheus"}, "did you mean 'prometheus'"),
        (
            {"kind": "samples", "table": "x"},
            "'latency' cannot use source 'samples': table: there is no such",
        ),
        ({"kind": "http", "url": URL}, "point either at value"),
        (HTTP | {"value_sum": "/s"}, "point either at value"),
        (HTTP | {"value": "v"}, "value: a JSON pointer begins with /"),
        (HTTP | {"body": {"a": 1}}, "a GET has no body"),
        (HTTP | {"url": "ftp://x/y"}, "url: a URL starts with http"),
        (HTTP | {"url": "https://{model_version}.example/"}, "the host of a URL is fixed"),
        (HTTP | {"url": "https://h/{version}"}, "{version} is not known; known: model_version"),
        (HTTP | {"url": "https://ann:hunter2@h/"}, "no user and password"),
        (HTTP | {"url": "https://h/?access_token=hunter2"}, "access_token looks like a secret"),
        (HTTP | {"headers": {"X-Api-Key": "hunter2"}}, "X-Api-Key looks like a secret"),
        (HTTP | {"url": "https://h/?sig=hunter2"}, "sig looks like a secret"),
        (HTTP | {"url": "https://h/?X-Amz-Signature=hunter2"}, "X-Amz-Signature looks like a"),
        (HTTP | {"url": "https://h/?x=Bearer%20hunter2"}, "x looks like a secret"),
        (HTTP | {"headers": {"X-Whatever": "Bearer hunter2"}}, "X-Whatever looks like a secret"),
        (HTTP | {"headers": {"X-Whatever": "basic hunter2"}}, '"env": "NAME"'),
        (POST | {"body": {"password": "hunter2"}}, "body.password looks like a secret"),
        (POST | {"body": {"password": 12345}}, "body.password looks like a secret"),
        (POST | {"body": {"a": [{"client_secret": "hunter2"}]}}, "body.a[0].client_secret looks"),
        (POST | {"body": {"auth": {"user": "ann", "pass": "hunter2"}}}, "body.auth.user looks"),
        (POST | {"body": {"a": ["Bearer hunter2"]}}, "body.a[0] looks like a secret"),
        (PROM | {"headers": {"X-Whatever": "Bearer hunter2"}}, "X-Whatever looks like a secret"),
        (HTTP | {"headers": {"X-Api-Key": {"env": "A", "block": "b"}}}, "either env or block"),
        (HTTP | {"timeout_seconds": 0}, "timeout_seconds: Input should be greater than 0"),
        (PROM | {"is_sum": True}, "a sum needs its count_query"),
        (QUERY | {"url": "postgresql://ann:hunter2@h/d"}, "url: it is made of fields: env, block"),
        (QUERY | {"query": "SELECT 1 AS value"}, "must ask for its :model_version"),
        (QUERY | {"query": "SELECT :model_version, :since"}, ":since is not bound"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_by_field_and_shows_no_secret(
    source: dict[str, Any], said: str
) -> None:
    with pytest.raises(HeadwayError) as caught:
        check_sources(RolloutPolicy(checks=(check(source),)))
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_secrets_of_all_checks_are_found_however_deep() -> None:
    header = {"Authorization": {"env": "TOKEN", "prefix": "Bearer "}, "Accept": "x"}
    other = {"Authorization": {"env": "TOKEN"}}
    checks = [
        check(HTTP | {"headers": header}),
        check(PROM | {"headers": other}),
        check(QUERY),
        check({"kind": "gone", "headers": header}),
    ]
    assert named_secrets(checks) == {SecretName(env="TOKEN"), SecretName(env="DB")}


def test_only_variables_that_the_settings_list_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headway.toml").write_text('health_secrets = ["TOKEN", "HEADWAY_X", "EMPTY"]\n')
    monkeypatch.chdir(tmp_path)
    for name, value in {"TOKEN": "a", "HEADWAY_X": "b", "EMPTY": "", "OTHER": "c"}.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    found = {name: from_environment(SecretName(env=name)) for name in ("TOKEN", "HEADWAY_X")}
    assert {name: secret and secret.get_secret_value() for name, secret in found.items()} == {
        "TOKEN": "a",
        "HEADWAY_X": "b",
    }
    for name in ("OTHER", "EMPTY", "GONE"):
        assert from_environment(SecretName(env=name)) is None


def test_every_source_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs/health-sources.md").read_text("utf-8")
    assert [name for name in health_sources.names() if f"| `{name}` |" not in page] == []
