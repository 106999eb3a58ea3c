"""Make objects of the catalogue's rows: keys without chosen names, parts with their whole. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.migrations.fingerprint.model import Attributes
from tasks.migrations.fingerprint.naming import is_chosen_by_postgres

Row = dict[str, Any]
Identity = tuple[int, int, int]

_SETS = frozenset(
    {"options", "toast_options", "grants", "roles", "tags", "checks", "settings", "foreign_options"}
)
_NOT_ATTRIBUTES = frozenset(
    {
        "class_oid",
        "oid",
        "sub_id",
        "parent_oid",
        "parent_sub_id",
        "kind",
        "name",
        "raw_schema",
        "raw_name",
        "raw_table",
        "raw_column",
        "table_name",
        "is_identity",
    }
)
_RELATION_CLASS = 1259  # pg_class, in every Postgres
OWN_SEQUENCE = "nextval(its own sequence)"


def assemble(
    rows: Iterable[Row],
    comments: Mapping[Identity, str],
    grants: Mapping[Identity, list[str]],
    *,
    version_table: tuple[str, str],
) -> dict[str, Attributes]:
    """The objects by their keys; parts of what is left out are left out with it."""
    kept = _with_their_wholes(rows, version_table)
    keys = _keys(kept)
    objects: dict[str, Attributes] = {}
    for row in kept:
        identity = _identity(row)
        if row.get("is_identity"):
            continue
        found = {name: value for name, value in row.items() if name not in _NOT_ATTRIBUTES}
        if row["kind"] != "extension":
            found["comment"] = comments.get(identity)
        found.setdefault("grants", grants.get(identity))
        if row.get("parent_oid") is not None:
            found["of"] = keys[_whole(row)]
        if row.get("raw_name") and keys[identity] != f"{row['kind']} {row['name']}":
            found["chosen_name"] = row["raw_name"]
        objects[keys[identity]] = _tidied(row["kind"], found)
    _give_columns_their_sequences(kept, keys, objects)
    return objects


def _with_their_wholes(rows: Iterable[Row], version_table: tuple[str, str]) -> list[Row]:
    kept: list[Row] = []
    known: set[Identity] = set()
    for row in rows:
        if (row.get("raw_schema"), row.get("raw_name")) == version_table:
            continue
        if row.get("parent_oid") is not None and _whole(row) not in known:
            continue
        known.add(_identity(row))
        kept.append(row)
    return kept


def _identity(row: Row) -> Identity:
    return row["class_oid"], row["oid"], row["sub_id"]


def _whole(row: Row) -> Identity:
    # Whatever is part of another is part of a relation, or of a relation's column.
    return _RELATION_CLASS, row["parent_oid"], row.get("parent_sub_id") or 0


def _keys(rows: Iterable[Row]) -> dict[Identity, str]:
    """A key for each row; those that share one without a name are numbered in a fixed order."""
    named: dict[Identity, str] = {}
    unnamed: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        key = _key_without_name(row)
        if key is None:
            named[_identity(row)] = f"{row['kind']} {row['name']}"
        else:
            unnamed[key].append(row)
    for key, same in unnamed.items():
        ordered = sorted(same, key=lambda row: (str(row.get("definition")), row["raw_name"]))
        for number, row in enumerate(ordered, start=1):
            named[_identity(row)] = key if number == 1 else f"{key} #{number}"
    return named


def _key_without_name(row: Row) -> str | None:
    kind = row["kind"]
    if kind == "sequence":
        columns = [row["raw_column"] or ""]
    elif kind in {"constraint", "index"}:
        columns = list(row["columns"])
    else:
        return None
    precise_kind = str(row.get("constraint_kind", kind))
    if not is_chosen_by_postgres(row["raw_name"], precise_kind, row["raw_table"] or "", columns):
        return None
    return _described(row, columns)


def _described(row: Row, columns: list[str]) -> str:
    listed = ", ".join(columns)
    if row["kind"] == "sequence":
        schema = row["name"].partition(".")[0]
        return f"sequence {schema}.{row['raw_table']}.{listed}"
    if row["kind"] == "index":
        return f"index {row['table_name']} ({listed})"
    return f"constraint {row['table_name']} {row['constraint_kind']} ({listed})"


def _tidied(kind: str, found: Attributes) -> Attributes:
    """Without what is not there; sets in an order of their own; an index by what it indexes."""
    if kind == "index":
        found.pop("columns", None)
    return {
        name: sorted(value) if name in _SETS else value
        for name, value in found.items()
        if value is not None and value != []
    }


def _give_columns_their_sequences(
    rows: Iterable[Row], keys: Mapping[Identity, str], objects: dict[str, Attributes]
) -> None:
    for row in rows:
        if row["kind"] != "sequence" or row.get("parent_oid") is None:
            continue
        column = objects[keys[_whole(row)]]
        if row["is_identity"]:
            column["identity_options"] = {
                name: row[name]
                for name in ("start", "increment", "min_value", "max_value", "cache", "cycle")
            }
        elif keys[_identity(row)] != f"sequence {row['name']}" and (
            column.get("default") == f"nextval('{row['name']}'::regclass)"
        ):
            column["default"] = OWN_SEQUENCE
