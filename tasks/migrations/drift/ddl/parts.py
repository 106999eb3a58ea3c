"""Statements for what belongs to a table: constraints, indexes, triggers, rules, policies. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.migrations.drift.ddl import words
from tasks.migrations.drift.ddl.words import ByHand, Objects, Phase, Step
from tasks.migrations.fingerprint.model import Attributes, kind_of, name_of

_ENABLED = {
    "origin": "ENABLE",
    "disabled": "DISABLE",
    "replica": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
}
# Part of a constraint's index, and nothing that its definition brings back.
_OF_THE_INDEX = {"valid", "clustered", "is_replica_identity", "options", "tablespace"}


def add_constraint(key: str, found: Attributes, objects: Objects) -> Iterator[Step]:
    """Add a constraint; a partition gets its table's without being told."""
    if _is_of_partition(found, objects):
        return
    table = words.table_of(found)
    name = "" if found.get("chosen_name") else f"CONSTRAINT {words.own_name(key, found)} "
    phase = Phase.ADD_CONSTRAINTS
    if found.get("constraint_kind") == "foreign key":
        phase = Phase.ADD_FOREIGN_KEYS
    yield phase, f"ALTER TABLE {table} ADD {name}{found['definition']}"
    if found.get("comment"):
        yield words.comment(f"CONSTRAINT {words.own_name(key, found)} ON {table}", found)


def drop_constraint(key: str, found: Attributes) -> Iterator[Step]:
    """Drop a constraint, and nothing that depends on it."""
    is_foreign = found.get("constraint_kind") == "foreign key"
    phase = Phase.DROP_FOREIGN_KEYS if is_foreign else Phase.DROP_CONSTRAINTS
    name = words.own_name(key, found)
    yield phase, f"ALTER TABLE {words.table_of(found)} DROP CONSTRAINT {name}"


def alter_constraint(
    key: str, attribute: str, before: Attributes, after: Attributes
) -> Iterator[Step]:
    """Validate it, or drop it and add it as it should be."""
    table, name = words.table_of(after), words.own_name(key, before)
    if attribute == "comment":
        yield words.comment(f"CONSTRAINT {name} ON {table}", after)
    elif attribute == "validated" and after.get("validated"):
        yield Phase.ALTER, f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"
    elif attribute in _OF_THE_INDEX:
        raise ByHand(attribute)
    else:
        yield from drop_constraint(key, before)
        yield from add_constraint(key, after, {})


def create_index(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Build an index; that of a partition comes with its table's."""
    if found.get("valid") is False:
        raise ByHand("an index that is invalid")
    if found.get("is_partition"):
        return
    named = "INDEX" if found.get("chosen_name") else f"INDEX {_unqualified(key)}"
    definition = str(found["definition"]).replace("INDEX", named, 1)
    # On a partitioned table ONLY would leave out the partitions.
    is_of_view = kind_of(str(found["of"])) == "materialized view"
    phase = Phase.CREATE_DEPENDENTS if is_of_view else Phase.ADD_CONSTRAINTS
    yield phase, definition.replace(" ON ONLY ", " ON ", 1)
    if found.get("comment"):
        yield words.comment(f"INDEX {index_name(key, found)}", found)


def drop_index(key: str, found: Attributes) -> Iterator[Step]:
    """Drop an index; that of a partition goes with its table's."""
    if not found.get("is_partition"):
        yield Phase.DROP_CONSTRAINTS, f"DROP INDEX {index_name(key, found)}"


def alter_index(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Build it anew as it should be."""
    if attribute == "comment":
        yield words.comment(f"INDEX {index_name(key, before)}", after)
    elif attribute in {"clustered", "is_replica_identity", "is_partition"}:
        raise ByHand(attribute)
    else:
        yield from drop_index(key, before)
        yield from create_index(key, after, {})


def index_name(key: str, found: Attributes) -> str:
    """The name of an index with its schema, whoever chose it."""
    if found.get("chosen_name"):
        schema = words.table_of(found).rpartition(".")[0]
        return f"{schema}.{words.quoted(found['chosen_name'])}"
    return name_of(key)


def create_part(key: str, found: Attributes, _objects: Objects) -> Iterator[Step]:
    """Create a trigger, a rule or a policy."""
    is_policy = kind_of(key) == "policy"
    definition = _policy(key, found) if is_policy else str(found["definition"]).rstrip(";")
    yield Phase.CREATE_DEPENDENTS, definition
    if found.get("enabled", "origin") != "origin":
        yield from alter_part(key, "enabled", {}, found)
    if found.get("comment"):
        yield words.comment(_part_of_table(key, found), found)


def drop_part(key: str, found: Attributes) -> Iterator[Step]:
    """Drop a trigger, a rule or a policy."""
    yield Phase.DROP_DEPENDENTS, f"DROP {_part_of_table(key, found)}"


def alter_part(key: str, attribute: str, before: Attributes, after: Attributes) -> Iterator[Step]:
    """Enable or disable it, or make it anew."""
    if attribute == "comment":
        yield words.comment(_part_of_table(key, after), after)
    elif attribute == "enabled":
        change = f"{_ENABLED[after['enabled']]} {words.keyword(key)} {words.own_name(key, after)}"
        yield Phase.CREATE_DEPENDENTS, f"ALTER TABLE {words.table_of(after)} {change}"
    else:
        yield from drop_part(key, before)
        yield from create_part(key, after, {})


def _part_of_table(key: str, found: Attributes) -> str:
    name = words.own_name(key, found)
    return f"{words.keyword(key)} {name} ON {words.table_of(found)}"


def _policy(key: str, found: Attributes) -> str:
    permissive = "" if found.get("permissive", True) else " AS RESTRICTIVE"
    using = f" USING ({found['using']})" if found.get("using") else ""
    check = f" WITH CHECK ({found['check']})" if found.get("check") else ""
    return (
        f"CREATE {_part_of_table(key, found)}{permissive} FOR {found['command']} "
        f"TO {', '.join(found['roles'])}{using}{check}"
    )


def _unqualified(key: str) -> str:
    return name_of(key).rpartition(".")[2]


def _is_of_partition(found: Attributes, objects: Objects) -> bool:
    """True if the parent of its partition has the same constraint: then the partition has it."""
    partition = str(objects.get(str(found.get("of")), {}).get("partition") or "")
    parent = partition.partition(" ")[0]
    return bool(parent) and any(
        other.get("of") == f"table {parent}" and other.get("definition") == found["definition"]
        for other in objects.values()
    )
