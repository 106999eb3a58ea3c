"""Statements for tables and their columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.drift.ddl import words
from tasks.migrations.drift.ddl.words import ByHand, Objects, Phase, Step
from tasks.migrations.fingerprint.assembly import OWN_SEQUENCE
from tasks.migrations.fingerprint.model import Attributes, kind_of, name_of

_SERIAL = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
_MAIN = {"numeric", "inet", "cidr"}


def create_table(key: str, found: Attributes, objects: Objects) -> Iterator[Step]:
    """The table with its columns; what else is part of it is created by itself."""
    if found.get("table_kind") == "foreign" or found.get("of_type"):
        raise ByHand("a foreign or typed table")
    kind = "UNLOGGED TABLE" if found.get("persistence") == "unlogged" else "TABLE"
    body = _partition(found) or _columns(key, found, objects)
    by = f" PARTITION BY {found['partition_key']}" if found.get("partition_key") else ""
    yield Phase.CREATE_TABLES, f"CREATE {kind} {name_of(key)} {body}{by}"
    yield from words.options(key, {}, found)
    for attribute in ("row_security", "force_row_security", "replica_identity"):
        if found.get(attribute) not in (None, False, "default"):
            yield from alter_table(key, attribute, {}, found)
    yield from words.with_all(key, found)


def drop_table(key: str, _found: Attributes) -> Iterator[Step]:
    """Drop the table, and nothing that depends on it."""
    yield Phase.DROP_TABLES, f"DROP TABLE {name_of(key)}"


def alter_table(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Change one attribute of a table."""
    start, value = f"ALTER TABLE {name_of(key)}", after.get(attribute)
    match attribute:
        case "partition":
            yield from _moved(name_of(key), before.get(attribute), value)
        case "persistence":
            yield Phase.ALTER, f"{start} SET {'UNLOGGED' if value == 'unlogged' else 'LOGGED'}"
        case "replica_identity" if value != "index":
            yield Phase.ALTER, f"{start} REPLICA IDENTITY {str(value).upper()}"
        case "row_security":
            yield Phase.ALTER, f"{start} {'ENABLE' if value else 'DISABLE'} ROW LEVEL SECURITY"
        case "force_row_security":
            yield Phase.ALTER, f"{start} {'' if value else 'NO '}FORCE ROW LEVEL SECURITY"
        case "access_method" | "tablespace" if value:
            yield Phase.ALTER, f"{start} SET {attribute.replace('_', ' ').upper()} {value}"
        case "options":
            yield from words.options(key, before, after)
        case _:
            raise ByHand(attribute)


def add_column(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Add a column at the end of its table."""
    table, column = words.table_of(found), words.own_name(key, found)
    phase = Phase.ADD_GENERATED if found.get("generated") else Phase.ADD_COLUMNS
    yield phase, f"ALTER TABLE {table} ADD COLUMN {column} {_definition(found)}"
    yield from column_extras(key, found)


def column_extras(key: str, found: Attributes) -> Iterator[Step]:
    """What a column has besides its definition."""
    if found.get("storage"):
        yield from alter_column(key, "storage", {}, found)
    if found.get("compression"):
        yield from alter_column(key, "compression", {}, found)
    yield from words.grants(
        key, {}, found, f"TABLE {words.table_of(found)}", words.own_name(key, found)
    )
    if found.get("comment"):
        yield words.comment(f"COLUMN {name_of(key)}", found)


def drop_column(key: str, found: Attributes) -> Iterator[Step]:
    """Drop a column, and nothing that depends on it."""
    column = words.own_name(key, found)
    yield Phase.DROP_COLUMNS, f"ALTER TABLE {words.table_of(found)} DROP COLUMN {column}"


def alter_column(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Change one attribute of a column."""
    table, column = words.table_of(after), words.own_name(key, after)
    value = after.get(attribute)
    if attribute in {"generated", "generated_kind"}:
        if not (before.get("generated") and after.get("generated")):
            raise ByHand("whether the column is generated")
        yield from drop_column(key, before)
        yield from add_column(key, after, {})
        return
    if attribute == "grants":
        yield from words.grants(key, before, after, f"TABLE {table}", column)
        return
    start = f"ALTER TABLE {table} ALTER COLUMN {column}"
    yield Phase.ALTER, f"{start} {_change(attribute, value, before, after)}"


def _change(attribute: str, value: object, before: Attributes, after: Attributes) -> str:
    match attribute:
        case "type" | "collation":
            collation = f" COLLATE {after['collation']}" if after.get("collation") else ""
            return f"TYPE {after['type']}{collation}"
        case "not_null":
            return "SET NOT NULL" if value else "DROP NOT NULL"
        case "default" if value != OWN_SEQUENCE:
            return "DROP DEFAULT" if value is None else f"SET DEFAULT {value}"
        case "identity" if value is None:
            return "DROP IDENTITY"
        case "identity":
            verb = "SET" if before.get("identity") else "ADD"
            as_identity = " AS IDENTITY" if verb == "ADD" else ""
            return f"{verb} GENERATED {str(value).upper()}{as_identity}"
        case "identity_options" if before.get("identity") and isinstance(value, dict):
            return " ".join(f"SET {part}" for part in sequence_options(value, before[attribute]))
        case "storage":
            return f"SET STORAGE {str(value or _usual_storage(after)).upper()}"
        case "compression":
            return f"SET COMPRESSION {value or 'default'}"
    raise ByHand(attribute)


def sequence_options(after: Attributes, before: Attributes) -> Iterator[str]:
    """The options of a sequence that differ, as its statements spell them."""
    spelled = {
        "type": "AS {}",
        "start": "START WITH {}",
        "increment": "INCREMENT BY {}",
        "min_value": "MINVALUE {}",
        "max_value": "MAXVALUE {}",
        "cache": "CACHE {}",
    }
    for name, words_of_it in spelled.items():
        if name in after and after[name] != before.get(name):
            yield words_of_it.format(after[name])
    if "cycle" in after and after["cycle"] != before.get("cycle", False):
        yield "CYCLE" if after["cycle"] else "NO CYCLE"


def _usual_storage(found: Attributes) -> str:
    return "main" if str(found["type"]).partition("(")[0] in _MAIN else "extended"


def _partition(found: Attributes) -> str | None:
    if not found.get("partition"):
        return None
    parent, bound = _parent_and_bound(str(found["partition"]))
    return f"PARTITION OF {parent} {bound}"


def _parent_and_bound(partition: str) -> tuple[str, str]:
    for marker in (" FOR VALUES ", " DEFAULT"):
        parent, found, bound = partition.partition(marker)
        if found:
            return parent, f"{found.strip()} {bound}".strip()
    raise ByHand("partition")


def _moved(table: str, before: object, after: object) -> Iterator[Step]:
    if before:
        parent, _ = _parent_and_bound(str(before))
        yield Phase.DETACH, f"ALTER TABLE {parent} DETACH PARTITION {table}"
    if after:
        parent, bound = _parent_and_bound(str(after))
        yield Phase.ATTACH, f"ALTER TABLE {parent} ATTACH PARTITION {table} {bound}"


def _columns(key: str, found: Attributes, objects: Objects) -> str:
    own = {
        words.own_name(each, column): column
        for each, column in objects.items()
        if column.get("of") == key and kind_of(each) == "column"
    }
    listed = [f"    {name} {_definition(own[name])}" for name in found.get("column_order", ())]
    inherits = ", ".join(found.get("inherits", ()))
    after = f" INHERITS ({inherits})" if inherits else ""
    return "(\n" + ",\n".join(listed) + "\n)" + after if listed else "()" + after


def _definition(found: Attributes) -> str:
    default = found.get("default")
    is_serial = default == OWN_SEQUENCE
    of_type = str(found["type"])
    parts = [_SERIAL.get(of_type, of_type) if is_serial else of_type]
    if found.get("collation"):
        parts.append(f"COLLATE {found['collation']}")
    if found.get("generated"):
        kind = str(found.get("generated_kind", "stored")).upper()
        parts.append(f"GENERATED ALWAYS AS ({found['generated']}) {kind}")
    elif found.get("identity"):
        options = " ".join(sequence_options(found.get("identity_options", {}), {}))
        parts.append(f"GENERATED {found['identity'].upper()} AS IDENTITY ({options})")
    elif default is not None and not is_serial:
        parts.append(f"DEFAULT {default}")
    if found.get("not_null"):
        parts.append("NOT NULL")
    return " ".join(parts)
