"""Changes of a column's type."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.migrations.hazards.reading import Reading
from tasks.migrations.hazards.registry import Finding, hazard
from tasks.migrations.hazards.sql import NAME, plain_name
from tasks.migrations.hazards.statements import actions_matching

_TYPE_CHANGE = rf"alter (?:column )?({NAME}) (?:set data )?type (?P<type>.+)"
_SIZED = re.compile(r"(?P<name>[a-z ]+?) ?\( ?(?P<size>\d+) ?(?:, ?(?P<scale>\d+) ?)?\)$")
_VARCHAR = {"varchar", "character varying"}
_NUMERIC = {"numeric", "decimal"}


@hazard(
    "type-change",
    "high",
    instead="add a column of the new type, write both, fill it in batches, swap the names",
    unsafe="ALTER TABLE orders ALTER COLUMN id TYPE bigint",
    safe="ALTER TABLE orders ADD COLUMN id_new bigint",
    decided_by="rewrite",
)
def type_change(reading: Reading) -> Iterator[Finding]:
    """A column gets another type: mostly the whole table is written anew."""
    for statement, found in actions_matching(reading.statements, _TYPE_CHANGE):
        name = plain_name(found[1])
        known = reading.context.column(statement.table, name)
        wanted = re.split(r" using | collate ", found["type"])[0]
        is_harmless = known and " using " not in found["type"] and widens(known.type, wanted)
        yield Finding(
            f"{statement.table}.{name} becomes {wanted}: mostly the table is written anew, and "
            "nobody can read it meanwhile",
            statement,
            dismissal=f"from {known.type} to {wanted} changes the catalogue only"
            if known and is_harmless
            else None,
        )


def widens(before: str, after: str) -> bool:
    """True if every value fits as it is stored, so that neither a rewrite nor a scan is needed."""
    if before == after:
        return True
    old, new = _parts(before), _parts(after)
    if old[0] in _VARCHAR and (new[0] == "text" or (new[0] in _VARCHAR and new[1] is None)):
        return True
    if new[1] is None:
        return old[0] in _NUMERIC and new[0] in _NUMERIC
    if old[1] is None or old[2] != new[2]:
        return False
    is_same = any(old[0] in kind and new[0] in kind for kind in (_VARCHAR, _NUMERIC))
    return is_same and new[1] >= old[1]


def _parts(name: str) -> tuple[str, int | None, int]:
    sized = _SIZED.fullmatch(name)
    if sized is None:
        return name.strip(), None, 0
    return sized["name"].strip(), int(sized["size"]), int(sized["scale"] or 0)
