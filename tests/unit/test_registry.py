"""Registries: one function a name, and a look-up that lists the choices."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from tasks import registry as registry_module
from tasks.errors import ConfigurationError, UnknownName
from tasks.registry import Registry


def one() -> int:
    return 1


def test_a_registered_function_is_found_by_name() -> None:
    numbers = Registry[Callable[[], int]]("number")
    assert numbers.register("one")(one) is one
    assert numbers.get("one") is one
    numbers.register("a")(one)
    assert numbers.names() == ["a", "one"]


def test_a_name_is_given_once() -> None:
    numbers = Registry[Callable[[], int]]("number")
    numbers.register("one")(one)
    with pytest.raises(ConfigurationError, match="number 'one' is registered twice"):
        numbers.register("one")(one)


def test_an_unknown_name_lists_the_known_ones() -> None:
    numbers = Registry[Callable[[], int]]("number")
    numbers.register("one")(one)
    with pytest.raises(UnknownName, match=r"number 'won' .*did you mean 'one'\? known: one"):
        numbers.get("won")


def test_other_packages_register_by_entry_point_once(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Registry[Callable[[], int]]("number", "headway.numbers")
    loads: list[str] = []

    class Offered(EntryPoint):
        def load(self) -> None:
            loads.append(self.name)
            numbers.register(self.name)(one)

    offered = Offered("two", "elsewhere", "headway.numbers")
    monkeypatch.setattr(
        registry_module, "entry_points", lambda group: [offered] if group == offered.group else []
    )
    assert numbers.get("two") is one
    assert numbers.names() == ["two"]
    assert loads == ["two"]
