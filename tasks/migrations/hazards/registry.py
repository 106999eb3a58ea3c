"""The rules by code. Another package adds its own by the entry point group `headway.hazards`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.migrations.hazards.model import Severity
from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.statements import Statement
from tasks.registry import Registry

# What shows whether it is one: how long the statement takes, or the whole revision; whether it
# rewrites or scans the table; whether it succeeds with the rows there are; whether the column has
# values.
DecidedBy = Literal["time", "revision-time", "rewrite", "success", "values"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found in a statement (None: in the file).

    ``dismissal`` and ``confirmation`` are what the catalogue says about it, where that decides.
    """

    message: str
    statement: Statement | None = None
    tables: tuple[str, ...] | None = None
    dismissal: str | None = None
    confirmation: str | None = None


Find = Callable[[Reading], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class HazardRule:
    """A hazard: how bad it is, what to do instead, an example of both, and how it is found."""

    code: str
    severity: Severity
    safe_rewrite: str
    unsafe: str
    safe: str
    decided_by: DecidedBy | None
    is_for_downgrades: bool
    is_about_rows: bool
    fails_anywhere: bool
    find: Find

    def __call__(self, reading: Reading) -> Iterator[Finding]:
        """What the rule finds in the revision."""
        if reading.revision.direction == "upgrade" or self.is_for_downgrades:
            yield from self.find(reading)


hazards: Registry[HazardRule] = Registry("hazard", "headway.hazards")


def hazard(
    code: str,
    severity: Severity,
    *,
    instead: str,
    unsafe: str,
    safe: str,
    decided_by: DecidedBy | None = None,
    is_for_downgrades: bool = True,
    is_about_rows: bool = True,
    fails_anywhere: bool = False,
) -> Callable[[Find], HazardRule]:
    """Register the decorated function under ``code``.

    ``decided_by`` names what a rehearsal may dismiss it by. A hazard ``is_about_rows`` (or about
    who waits for them) is none on a table that the same plan creates. ``is_for_downgrades`` is
    false for what a downgrade is meant to do: its rows are archived first. What ``fails_anywhere``
    is a hazard in a database without tables too.
    """

    def add(find: Find) -> HazardRule:
        rule = HazardRule(
            code=code,
            severity=severity,
            safe_rewrite=instead,
            unsafe=unsafe,
            safe=safe,
            decided_by=decided_by,
            is_for_downgrades=is_for_downgrades,
            is_about_rows=is_about_rows,
            fails_anywhere=fails_anywhere,
            find=find,
        )
        return hazards.register(code)(rule)

    return add
