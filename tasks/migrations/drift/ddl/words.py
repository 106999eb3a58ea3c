"""What all kinds share: the order of statements, names, owners, grants, comments. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from tasks.migrations.fingerprint.model import Attributes, kind_of, name_of

Objects = Mapping[str, Attributes]


class Phase(IntEnum):
    """When a statement runs: what depends on others goes first and comes last."""

    DROP_DEPENDENTS = 0
    DROP_VIEWS = 1
    DROP_FOREIGN_KEYS = 2
    DROP_CONSTRAINTS = 3
    DETACH = 4
    DROP_FUNCTIONS = 5
    DROP_TABLES = 6
    DROP_COLUMNS = 7
    DROP_TRIGGER_FUNCTIONS = 8
    DROP_REST = 9
    DROP_SCHEMAS = 10
    CREATE_SCHEMAS = 11
    CREATE_TYPES = 12
    CREATE_SEQUENCES = 13
    CREATE_TABLES = 14
    ADD_COLUMNS = 15
    ALTER = 16
    ADD_GENERATED = 17
    ATTACH = 18
    ADD_CONSTRAINTS = 19
    ADD_FOREIGN_KEYS = 20
    CREATE_FUNCTIONS = 21
    CREATE_VIEWS = 22
    CREATE_DEPENDENTS = 23
    OWN = 24
    GRANT = 25
    COMMENT = 26


Step = tuple[Phase, str]


class ByHand(Exception):
    """This difference cannot be written as SQL from what a fingerprint holds."""


_KEYWORDS = {
    "enum": "TYPE",
    "domain": "DOMAIN",
    "composite type": "TYPE",
    "range type": "TYPE",
}
# Grants name these otherwise than other statements do.
_GRANT_KEYWORDS = {"table": "TABLE", "view": "TABLE", "materialized view": "TABLE"}
_GRANT = re.compile(
    r"(?P<no>no )?(?P<what>[A-Z ]+) TO (?P<whom>.+?)(?P<option> WITH GRANT OPTION)?"
)


def keyword(key: str) -> str:
    """What statements call such an object."""
    return _KEYWORDS.get(kind_of(key), kind_of(key).upper())


def table_of(found: Attributes) -> str:
    """The name of the table that the object is part of."""
    return name_of(str(found["of"]))


def own_name(key: str, found: Attributes) -> str:
    """The name of a part without its table's, whoever chose it."""
    chosen = found.get("chosen_name")
    if chosen:
        return quoted(str(chosen))
    return name_of(key)[len(table_of(found)) + 1 :]


def quoted(name: str) -> str:
    """An identifier, quoted where it must be."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    return name if plain else '"' + name.replace('"', '""') + '"'


def literal(text: Any) -> str:
    """A string constant; NULL for none."""
    return "NULL" if text is None else "'" + str(text).replace("'", "''") + "'"


def alter_owner(key: str, found: Attributes) -> Step:
    """Give the object to its owner."""
    return Phase.OWN, f"ALTER {keyword(key)} {name_of(key)} OWNER TO {found['owner']}"


def comment(target: str, found: Attributes) -> Step:
    """Say the object's comment, or none."""
    return Phase.COMMENT, f"COMMENT ON {target} IS {literal(found.get('comment'))}"


def grants(
    key: str, before: Attributes, after: Attributes, on: str | None = None, column: str = ""
) -> Iterator[Step]:
    """Grant what is new and revoke what is gone."""
    old, new = set(before.get("grants") or ()), set(after.get("grants") or ())
    on = on or f"{_GRANT_KEYWORDS.get(kind_of(key), keyword(key))} {name_of(key)}"
    for grant in sorted(old - new):
        yield Phase.GRANT, _granted(grant, on, column, after, is_taken_back=True)
    for grant in sorted(new - old):
        yield Phase.GRANT, _granted(grant, on, column, after, is_taken_back=False)


def _granted(grant: str, on: str, column: str, after: Attributes, *, is_taken_back: bool) -> str:
    found = _GRANT.fullmatch(grant)
    if found is None:
        raise ByHand(f"privilege {grant}")
    what = f"{found['what']} ({column})" if column else found["what"]
    whom = after.get("owner", "CURRENT_USER") if found["whom"] == "OWNER" else found["whom"]
    if bool(found["no"]) != is_taken_back:
        return f"REVOKE {what} ON {on} FROM {whom}"
    return f"GRANT {what} ON {on} TO {whom}{found['option'] or ''}"


def options(key: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Storage parameters: set what is new, reset what is gone."""
    old, new = set(before.get("options") or ()), set(after.get("options") or ())
    kept = {option.partition("=")[0] for option in new}
    gone = sorted({option.partition("=")[0] for option in old} - kept)
    if new - old:
        yield Phase.ALTER, _altered(key, f"SET ({', '.join(sorted(new - old))})")
    if gone:
        yield Phase.ALTER, _altered(key, f"RESET ({', '.join(gone)})")


def _altered(key: str, change: str) -> str:
    return f"ALTER {keyword(key)} {name_of(key)} {change}"


def with_all(
    key: str, found: Attributes, comment_on: str | None = None, on: str | None = None
) -> Iterator[Step]:
    """What a new object gets besides its definition: grants and comment. Its maker owns it."""
    yield from grants(key, {}, found, on)
    if found.get("comment"):
        yield comment(comment_on or f"{keyword(key)} {name_of(key)}", found)
