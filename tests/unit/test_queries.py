"""Every named query is used, and every used name exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tasks.database import load_queries
from tasks.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for path in (ROOT / "tasks").rglob("*.sql") if "-- name:" in path.read_text("utf-8")
)
SOURCES = [path for folder in ("tasks", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


def package_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(ROOT).parts)


@cache
def used_names() -> list[re.Pattern[str]]:
    """Every string literal of the package, as a pattern: what an f-string fills in is anything."""
    code = "\n".join(path.read_text("utf-8") for path in SOURCES)
    literals = set(re.findall(r'f?"([a-z_{}.\[\]]+)"', code))
    parts = [re.split(r"\{[^}]*\}", literal) for literal in literals]
    return [
        re.compile(r"\w+".join(map(re.escape, each))) for each in parts if len("".join(each)) > 4
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_query_is_used_and_says_what_it_is_for(path: Path) -> None:
    queries = load_queries(package_of(path), path.name)
    patterns = used_names()
    assert not any(pattern.fullmatch("no_such_query") for pattern in patterns)
    unused = [name for name in queries if not any(p.fullmatch(name) for p in patterns)]
    assert unused == []
    silent = [name for name, query in queries.items() if not str(query).startswith("-- ")]
    assert silent == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_literal_name_exists(path: Path) -> None:
    code = path.read_text("utf-8")
    known = {
        name
        for package, file in re.findall(r'load_queries\(([^,)]+)(?:, "([\w.]+)")?\)', code)
        for name in load_queries(
            package.strip('"') if package.startswith('"') else package_of(path),
            file or "queries.sql",
        )
    }
    if known:
        assert set(re.findall(r'QUERIES\["(\w+)"\]', code)) <= known


def test_a_name_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_queries"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "queries.sql").write_text("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="names a query twice"):
        load_queries("some_queries")
    with pytest.raises(ConfigurationError, match="needs the package"):
        load_queries(None)
