"""Named things that others may add to: metric kinds, health checks, suites, rules."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tasks.errors import ConfigurationError, UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Functions by name. Other packages add theirs by entry point, loaded at the first look-up.

    An entry point names a module (or an object in one) whose import registers its functions.
    """

    def __init__(self, kind: str, entry_point_group: str | None = None) -> None:
        self.kind = kind
        self._group = entry_point_group
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Register the decorated function under ``name``; the same name twice is an error."""

        def add(item: T) -> T:
            if name in self._items:
                raise ConfigurationError(f"{self.kind} {name!r} is registered twice; rename one")
            self._items[name] = item
            return item

        return add

    def get(self, name: str) -> T:
        """Return what is registered under ``name``; raise UnknownName listing the choices."""
        self._load_entry_points()
        try:
            return self._items[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._items) from None

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load_entry_points()
        return sorted(self._items)

    def _load_entry_points(self) -> None:
        if self._group is None:
            return
        group, self._group = self._group, None
        for entry_point in entry_points(group=group):
            entry_point.load()
